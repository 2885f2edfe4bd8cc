/* What memory_buffer_list.h and chunked_memory_stream.h say. Argument: buffers between two threads. */
#include "chunked_memory_stream.h"
#include "memory_buffer_list.h"
#include "check.h"
#include <initializer_list>
#include <thread>

static char *text(const char *from) { return strdup(from); }

static void fill(chunked_memory_stream &stream)
{
    for (const char *piece : {"01", "23", "45", "67"}) CHECK(stream.push(text(piece), 2) == 2);
}

static void list()
{
    memory_buffer_list buffers;
    CHECK(!buffers.get_head() && !buffers.get_tail() && !buffers.pop_head());
    buffers.add_node(text("first"), 6);
    buffers.add_node(text("second"), 7);
    memory_buffer_list::node *head = buffers.get_head();
    CHECK(head && !strcmp(static_cast<char *>(head->get_buffer()), "first") && head->get_buffer_len() == 6);
    CHECK(buffers.get_next(head) == buffers.get_tail() && head->get_next() == buffers.get_tail());
    head->shift_buffer_position(2);
    CHECK(!strcmp(static_cast<char *>(head->get_buffer()), "rst") && head->get_buffer_len() == 4);
    head->shift_buffer_position(99);
    CHECK(!head->get_buffer() && head->get_buffer_len() == 0);
    CHECK(buffers.pop_head() == head && !head->get_next());
    delete head;
    /* A node of the program's own is one like those. */
    memory_buffer_list::node *own = new memory_buffer_list::node();
    CHECK(!own->get_buffer() && own->get_buffer_len() == 0 && !own->get_next());
    own->set_buffer(text("own"), 4);
    own->set_next(buffers.get_head());
    CHECK(own->get_next() == buffers.get_head() && own->get_buffer_len() == 4);
    delete own;
    REFUSED(EINVAL, (buffers.add_node(0, 1), buffers.get_head() == buffers.get_tail()));
}

static void stream()
{
    chunked_memory_stream bytes, other;
    char read[16] = {0};
    fill(bytes);
    CHECK(bytes.copy(3, read, 6) == 5 && !memcmp(read, "34567", 5));
    CHECK(bytes.copy(8, read, 6) == 0);
    REFUSED(EINVAL, bytes.copy(0, 0, 1) == -1);
    REFUSED(EINVAL, bytes.read(0, 1) == static_cast<size_t>(-1));
    REFUSED(EINVAL, bytes.push(0, 1) == 0);
    CHECK(bytes.get_buffer_len() == 2 && !memcmp(bytes.get_buffer(), "01", 2));
    void *node = 0;
    for (const char *piece : {"01", "23", "45", "67"}) {
        node = bytes.get_next(node);
        CHECK(bytes.get_buffer_len(node) == 2 && !memcmp(bytes.get_buffer(node), piece, 2));
    }
    CHECK(!bytes.get_next(node) && !bytes.get_buffer(0) && bytes.get_buffer_len(0) == 0);
    CHECK(bytes.erase(5) == 5 && bytes.read(read, 2) == 2 && !memcmp(read, "56", 2));
    CHECK(bytes.get_buffer_len() == 1 && *static_cast<char *>(bytes.get_buffer()) == '7');
    fill(other);
    CHECK(bytes.transfer(&other) == 1 && other.read(read, 16) == 9 && !memcmp(read, "012345677", 9));
    REFUSED(EINVAL, bytes.transfer(0) == 0);
    CHECK(bytes.read(read, 1) == 0 && !bytes.get_buffer() && bytes.get_buffer_len() == 0);
    fill(bytes);
}

static void threads(long count)
{
    memory_buffer_list *buffers = new memory_buffer_list();
    std::thread producer([=] {
        for (long nth = 0; nth < count; nth++) {
            char number[24];
            snprintf(number, sizeof number, "%ld", nth);
            buffers->add_node(text(number), strlen(number) + 1);
        }
    });
    for (long nth = 0; nth < count;) {
        memory_buffer_list::node *node = buffers->pop_head();
        if (!node) {
            std::this_thread::yield();
            continue;
        }
        CHECK(atol(static_cast<char *>(node->get_buffer())) == nth++);
        delete node;
    }
    producer.join();
    CHECK(!buffers->get_head());
    delete buffers;
}

int main(int argc, char **argv)
{
    list();
    stream();
    threads(ARGUMENT(1, 100000));
    return 0;
}
