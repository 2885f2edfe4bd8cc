/* hello.c: what a first program does with an installed library; it compiles as C and as C++. */
#include <ef_io.h>
#include <efio.h>
#include <string.h>

static volatile int told[3];

static void news(int fd, int oper, void *data)
{
    (void)fd, (void)data;
    told[oper]++;
}

int main(int argc, char **argv)
{
    char bytes[64];
    ssize_t n;
    if (argc != 2)
        return 2;
    ef_set_cb_func(news, NULL);
    int fd = ef_open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
    while (ef_open_status(fd) != fd) {
        if (errno != EAGAIN)
            return 3;
        usleep(1000);
    }
    if (ef_write(fd, "hello, ", 7) != 7 || ef_write(fd, "world\n", 6) != 6)
        return 4;
    if (ef_seek(fd, 0, SEEK_SET) != 0)
        return 5;
    while ((n = ef_read(fd, bytes, sizeof bytes)) < 0) {
        if (errno != EAGAIN)
            return 6;
        usleep(1000);
    }
    if (n != 13 || memcmp(bytes, "hello, world\n", 13) != 0)
        return 7;
    if (ef_close_immediate(fd) != 0)
        return 8;
    thread_pool_type pool = create_thread_pool(2);
    if (!pool || destroy_thread_pool(pool) != 0)
        return 9;
    ef_unset_cb_func();
    return told[FILE_OPER_OPEN] == 1 ? 0 : 10;
}
