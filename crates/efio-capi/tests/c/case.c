/* case.c: see case.h. */
#include "case.h"
#include <time.h>

static struct one_case *cases;

void add_case(struct one_case *one)
{
    struct one_case **last = &cases;
    while (*last)
        last = &(*last)->next;
    *last = one;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: %s --list | NAME\n", argv[0]);
        return 2;
    }
    int list = strcmp(argv[1], "--list") == 0;
    for (struct one_case *one = cases; one; one = one->next) {
        if (list) {
            puts(one->name);
        } else if (strcmp(argv[1], one->name) == 0) {
            one->run();
            return 0;
        }
    }
    if (!list)
        fprintf(stderr, "no case %s\n", argv[1]);
    return list ? 0 : 2;
}

void fail_at(const char *file, int line, const char *format, ...)
{
    va_list list;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    _exit(1);
}

void skip(const char *format, ...)
{
    va_list list;
    printf("skipped: ");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    _exit(77);
}

int64_t checked(const char *file, int line, const char *text, int64_t got)
{
    int error = errno;
    if (got < 0)
        fail_at(file, line, "%s is %lld with errno %d (%s)", text, (long long)got, error, strerror(error));
    if (error != UNTOUCHED)
        fail_at(file, line, "%s is %lld and sets errno to %d", text, (long long)got, error);
    return got;
}

int64_t returned(const char *file, int line, const char *text, int64_t got, int error, int expected)
{
    if (got != -1)
        fail_at(file, line, "%s is %lld, not -1 with errno %d", text, (long long)got, expected);
    if (error != expected)
        fail_at(file, line, "%s fails with errno %d (%s), not %d (%s)", text, error, strerror(error), expected,
                strerror(expected));
    return got;
}

int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

void rest(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* ---- The callback ---------------------------------------------------------------------------------------------- */

struct word {
    int fd, oper;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static struct word *words;
static int count, room;

void note(int fd, int oper, void *data)
{
    (void)data;
    pthread_mutex_lock(&lock);
    if (count == room) {
        room = room ? 2 * room : 1024;
        words = realloc(words, (size_t)room * sizeof *words);
    }
    words[count].fd = fd;
    words[count++].oper = oper;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static int count_of(int fd, int oper)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        found += words[i].fd == fd && words[i].oper == oper;
    return found;
}

int heard(int fd, int oper)
{
    pthread_mutex_lock(&lock);
    int found = count_of(fd, oper);
    pthread_mutex_unlock(&lock);
    return found;
}

int heard_in_all(void)
{
    pthread_mutex_lock(&lock);
    int all = count;
    pthread_mutex_unlock(&lock);
    return all;
}

void until_heard(int fd, int oper, int times)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE / 1000;
    pthread_mutex_lock(&lock);
    while (count_of(fd, oper) < times) {
        if (pthread_cond_timedwait(&news, &lock, &end) != 0)
            fail_at(__FILE__, __LINE__, "waited in vain for callback %d of handle %d, number %d of its kind", oper, fd, times);
    }
    pthread_mutex_unlock(&lock);
}

void order_is_right(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        int opens = 0, closes = 0;
        if (words[i].oper < 0 || words[i].oper > FILE_OPER_CLOSE)
            fail_at(__FILE__, __LINE__, "a callback with oper %d", words[i].oper);
        for (int j = 0; j < i; j++) {
            opens += words[j].fd == words[i].fd && words[j].oper == FILE_OPER_OPEN;
            closes += words[j].fd == words[i].fd && words[j].oper == FILE_OPER_CLOSE;
        }
        if (opens != (words[i].oper != FILE_OPER_OPEN) || closes != 0)
            fail_at(__FILE__, __LINE__, "handle %d: oper %d after %d opens and %d closes", words[i].fd, words[i].oper,
                    opens, closes);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Files by plain system calls ------------------------------------------------------------------------------- */

void pattern(unsigned seed, void *buffer, size_t size)
{
    uint64_t state = (seed + 1) * 0x9E3779B97F4A7C15u | 1;
    unsigned char *bytes = buffer;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        bytes[i] = (unsigned char)(state >> i % 8 * 8);
    }
}

char *made(unsigned seed, size_t size)
{
    char *bytes = malloc(size + 1);
    CHECK(bytes);
    pattern(seed, bytes, size);
    return bytes;
}

void put(const char *path, const void *bytes, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(file, (const char *)bytes + done, size - done);
        CHECK(n > 0);
        done += (size_t)n;
    }
    close(file);
}

void put_pattern(const char *path, unsigned seed, size_t size)
{
    char *bytes = made(seed, size);
    put(path, bytes, size);
    free(bytes);
}

char *get(const char *path, size_t *size)
{
    int file = open(path, O_RDONLY);
    CHECK(file >= 0);
    size_t space = 65536, done = 0;
    char *bytes = malloc(space);
    for (;;) {
        ssize_t n = read(file, bytes + done, space - done);
        CHECK(n >= 0);
        if (n == 0)
            break;
        done += (size_t)n;
        if (done == space)
            bytes = realloc(bytes, space *= 2);
    }
    close(file);
    *size = done;
    return bytes;
}

int64_t size_of(const char *path)
{
    struct stat data;
    return stat(path, &data) == 0 ? (int64_t)data.st_size : -1;
}

void holds(const char *path, const void *bytes, size_t size)
{
    size_t found;
    char *there = get(path, &found);
    if (found != size)
        fail_at(__FILE__, __LINE__, "%s holds %zu bytes, not %zu", path, found, size);
    for (size_t i = 0; i < size; i++) {
        if (there[i] != ((const char *)bytes)[i])
            fail_at(__FILE__, __LINE__, "%s differs at byte %zu", path, i);
    }
    free(there);
}

void forget_cache(const char *path)
{
    int file = open(path, O_RDONLY);
    CHECK(file >= 0);
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
}

int fifo_reader(const char *path)
{
    CHECK(mkfifo(path, 0600) == 0);
    int end = open(path, O_RDONLY | O_NONBLOCK);
    CHECK(end >= 0);
    return end;
}

/* ---- Files by efio --------------------------------------------------------------------------------------------- */

int opened(const char *path, int flags)
{
    int fd = ef_open(path, flags, 0644);
    if (fd < 0)
        fail_at(__FILE__, __LINE__, "ef_open(%s, %#x) fails with errno %d", path, flags, errno);
    int64_t end = now() + PATIENCE;
    while (ef_open_status(fd) != fd) {
        if (errno != EAGAIN || now() > end)
            fail_at(__FILE__, __LINE__, "opening %s (%#x): errno %d (%s)", path, flags, errno, strerror(errno));
        rest(1);
    }
    return fd;
}

int open_error(const char *path, int flags)
{
    int fd = ef_open(path, flags, 0644);
    if (fd < 0)
        fail_at(__FILE__, __LINE__, "ef_open(%s, %#x) fails at once with errno %d", path, flags, errno);
    int64_t end = now() + PATIENCE;
    int status;
    while ((status = ef_open_status(fd)) == -1 && errno == EAGAIN) {
        if (now() > end)
            fail_at(__FILE__, __LINE__, "the open of %s has no end", path);
        rest(1);
    }
    if (status != -1)
        fail_at(__FILE__, __LINE__, "%s (%#x) opens, though it should not", path, flags);
    return errno;
}

ssize_t read_some(int fd, void *buffer, size_t size)
{
    int64_t end = now() + PATIENCE;
    for (;;) {
        ssize_t n = ef_read(fd, buffer, size);
        if (n >= 0 || errno != EAGAIN)
            return n;
        if (now() > end)
            fail_at(__FILE__, __LINE__, "ef_read says EAGAIN without end");
        rest(1);
    }
}

size_t read_all(int fd, void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read_some(fd, (char *)buffer + done, size - done);
        if (n < 0)
            fail_at(__FILE__, __LINE__, "ef_read fails with errno %d (%s) after %zu bytes", errno, strerror(errno), done);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return done;
}

int read_error(int fd)
{
    char bytes[64];
    ssize_t n = read_some(fd, bytes, sizeof bytes);
    if (n >= 0)
        fail_at(__FILE__, __LINE__, "ef_read gives %zd, though it should fail", n);
    return errno;
}

void written(int fd, const void *bytes, size_t size)
{
    errno = UNTOUCHED;
    ssize_t n = ef_write(fd, bytes, size);
    if (n != (ssize_t)size)
        fail_at(__FILE__, __LINE__, "ef_write of %zu bytes gives %zd with errno %d (%s)", size, n, errno,
                strerror(errno));
    EQUAL(errno, UNTOUCHED);
}

int close_error(int fd)
{
    if (ef_close(fd) != 0)
        fail_at(__FILE__, __LINE__, "ef_close fails with errno %d (%s)", errno, strerror(errno));
    int64_t end = now() + PATIENCE;
    while (ef_close_status(fd) != 0) {
        if (errno != EAGAIN)
            return errno;
        if (now() > end)
            fail_at(__FILE__, __LINE__, "the close has no end");
        rest(1);
    }
    return 0;
}

void closed(int fd)
{
    int error = close_error(fd);
    if (error != 0)
        fail_at(__FILE__, __LINE__, "the close tells errno %d (%s)", error, strerror(error));
}
