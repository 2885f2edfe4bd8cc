/* What ev_buffered_stream.h says, without frames. */
#include "ev_buffered_stream.h"
#include "check.h"
#include <initializer_list>
#include <istream>
#include <iterator>
#include <ostream>
#include <string>

typedef std::char_traits<char> traits;

static std::string rest(std::streambuf &buffer)
{
    std::istream in(&buffer);
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

static void both_ways()
{
    chunked_memory_stream stream;
    ev_buffered_stream buffer(&stream, 1024);
    std::ostream out(&buffer);
    CHECK(buffer.sync() == 0 && !stream.get_next(0));
    out << "01" << 23 << "45" << "67";
    CHECK(!stream.get_next(0));
    out.flush();
    CHECK(out.good() && stream.get_buffer_len() == 8);
    CHECK(rest(buffer) == "01234567");
    CHECK(!stream.get_next(0));
}

/* Every byte, 0xFF and 0 among them, over many buffers. */
static void every_byte()
{
    chunked_memory_stream stream;
    std::string sent;
    for (int nth = 0; nth < 100000; nth++) sent += static_cast<char>(nth * 7);
    {
        ev_buffered_stream buffer(&stream, 1024);
        std::ostream out(&buffer);
        out << sent.substr(0, 50000);
        for (int nth = 50000; nth < 100000; nth++) out.put(sent[static_cast<size_t>(nth)]);
        CHECK(out.good());
    }
    CHECK(stream.get_buffer_len() == 4096);
    ev_buffered_stream buffer(&stream, 1000);
    CHECK(buffer.sgetc() == 0 && buffer.in_avail() == 1000);
    CHECK(rest(buffer) == sent);
    CHECK(buffer.sgetc() == traits::eof());
    stream.push(strdup("\xff"), 1);
    CHECK(buffer.sgetc() == 0xff && buffer.sbumpc() == 0xff && buffer.sgetc() == traits::eof());
    /* What was erased cannot be put back. */
    CHECK(buffer.sungetc() == traits::eof());
}

static void limits()
{
    chunked_memory_stream stream;
    for (const char *piece : {"01", "23", "45", "67"}) stream.push(strdup(piece), 2);
    {
        ev_buffered_stream four(&stream, 1024, 4);
        CHECK(rest(four) == "0123");
        ev_buffered_stream more(&stream, 1024, 3);
        CHECK(more.sbumpc() == '4');
        more.consume_all_of_max_len();
    }
    char left;
    CHECK(stream.copy(0, &left, 1) == 1 && left == '7');
    stream.erase(1);

    /* At the limit of a write the rest is dropped, and the stream of C++ is told; nothing is freed twice. */
    {
        ev_buffered_stream five(&stream, 1024, 5);
        std::ostream out(&five);
        out << "abc" << std::flush << "defg";
        CHECK(out.good());
        out << std::flush;
        CHECK(out.bad());
        out.clear();
        REFUSED(EFBIG, (out << "h" << std::flush, out.bad()));
    }
    ev_buffered_stream all(&stream, 1024);
    CHECK(rest(all) == "abcde");
}

static void modes()
{
    chunked_memory_stream stream;
    stream.push(strdup("x"), 1);
    ev_buffered_stream buffer(&stream, 0);
    CHECK(buffer.get_mode() == (std::ios::in | std::ios::out));
    buffer.set_mode(std::ios::out);
    CHECK(buffer.sgetc() == traits::eof() && buffer.sputc('y') == 'y' && buffer.sync() == 0);
    buffer.set_mode(std::ios::in);
    CHECK(buffer.get_mode() == std::ios::in && buffer.sputc('z') == traits::eof() && buffer.sync() == 0);
    CHECK(rest(buffer) == "xy");
    CHECK(buffer.low_readch() == traits::eof());

    ev_buffered_stream without(0, 1024);
    CHECK(without.sgetc() == traits::eof());
    CHECK(without.sputc('a') == 'a');
    REFUSED(EINVAL, without.sync() == -1);
    REFUSED(EINVAL, without.push_to_sync(0, 1) == 0);

    /* A buffer of the program's own goes through as it is. */
    char *own = strdup("own");
    CHECK(buffer.push_to_sync(own, 3) == 3 && stream.get_buffer() == own);
}

/* One who sends the bytes on himself. */
class copying : public ev_buffered_stream {
public:
    copying() : ev_buffered_stream(0, 1024) {}
    ~copying() { sync(); }
    size_t write_to_sync(char *buffer, std::streamsize bytes)
    {
        sent.append(buffer, static_cast<size_t>(bytes));
        return static_cast<size_t>(bytes);
    }
    std::string sent;
};

/* One whose source answers wrongly. */
class wrong : public ev_buffered_stream {
public:
    explicit wrong(chunked_memory_stream *stream, size_t answer) : ev_buffered_stream(stream, 1024), _answer(answer) {}
    size_t read_from_source(std::streamsize size)
    {
        low_read_from_source(size);
        return _answer;
    }

private:
    size_t _answer;
};

static void derived()
{
    copying copy;
    std::ostream out(&copy);
    std::string sent(10000, 'c');
    out << sent << std::flush;
    CHECK(out.good() && copy.sent == sent);
    chunked_memory_stream stream;
    stream.push(strdup("x"), 1);
    wrong none(&stream, static_cast<size_t>(-1)), more(&stream, 1025);
    CHECK(none.sgetc() == traits::eof() && more.sgetc() == traits::eof());
}

int main()
{
    both_ways();
    every_byte();
    limits();
    modes();
    derived();
    return 0;
}
