/*
 * The chunked coding of HTTP/1.1 through ev_buffered_stream, as its users do it: the length goes to the room before the bytes,
 * a line end behind them, and the reader takes it apart again. Also with frames shorter than their room.
 */
#include "ev_buffered_stream.h"
#include "check.h"
#include <cctype>
#include <istream>
#include <iterator>
#include <ostream>
#include <string>
#include <thread>

typedef std::char_traits<char> traits;

class http_stream : public ev_buffered_stream {
public:
    http_stream(chunked_memory_stream *stream, bool padded)
        : ev_buffered_stream(stream, 1024), _left(0), _ended(false), _closed(false), _padded(padded)
    {
        set_prefix_len(5);
        set_suffix_len(2);
    }

    /* The last chunk: a line end as content, "00000" before it, a line end behind. */
    void close()
    {
        CHECK(sync() == 0);
        _closed = true;
        CHECK(sputn("\r\n", 2) == 2 && sync() == 0);
    }

    void get_prefix(char *buffer, std::streamsize bytes, char *prefix, size_t room)
    {
        if (_closed) {
            CHECK(!memcmp(buffer, "\r\n", 2));
            strcpy(prefix, _padded ? "00000" : "0");
        } else {
            snprintf(prefix, room + 1, _padded ? "%03lx\r\n" : "%lx\r\n", static_cast<long>(bytes));
        }
    }

    void get_suffix(char *, std::streamsize, char *suffix, size_t room) { memcpy(suffix, "\r\n", room); }

    size_t read_from_source(std::streamsize size)
    {
        if (_ended) return 0;
        if (_left == 0) {
            std::string digits;
            int c = low_readch();
            while (c == '\r' || c == '\n') c = low_readch();
            for (; c != traits::eof() && isxdigit(c); c = low_readch()) digits += static_cast<char>(c);
            while (c != traits::eof() && c != '\n') c = low_readch();
            if (digits.empty()) return static_cast<size_t>(traits::eof());
            _left = strtol(digits.c_str(), 0, 16);
            _ended = _left == 0;
            if (_ended) return 0;
        }
        size_t count = low_read_from_source(size < _left ? size : _left);
        _left -= static_cast<std::streamsize>(count);
        return count;
    }

private:
    std::streamsize _left;
    bool _ended, _closed, _padded;
};

static std::string all_of(chunked_memory_stream &stream)
{
    std::string bytes(1 << 20, 0);
    bytes.resize(static_cast<size_t>(stream.copy(0, &bytes[0], bytes.size())));
    return bytes;
}

static void body(bool padded)
{
    chunked_memory_stream stream;
    std::string sent;
    for (int nth = 0; nth < 100000; nth++) sent += static_cast<char>(nth * 13);
    {
        http_stream buffer(&stream, padded);
        std::ostream out(&buffer);
        out << sent;
        CHECK(out.good());
        buffer.close();
    }
    /* Whole buffers of 4096 bytes, frame and all; shorter frames make shorter buffers. */
    CHECK(stream.get_buffer_len() == 4096 && !memcmp(stream.get_buffer(), "ff9\r\n", 5));
    std::string coded = all_of(stream);
    CHECK(coded.substr(coded.size() - 7) == (padded ? "000\r\n\r\n" : "\r\n0\r\n\r\n"));
    http_stream buffer(&stream, padded);
    std::istream in(&buffer);
    CHECK(std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()) == sent);
    CHECK(all_of(stream) == "\r\n");
}

static void small(bool padded, const char *expected)
{
    chunked_memory_stream stream;
    http_stream buffer(&stream, padded);
    std::ostream out(&buffer);
    out << "Wiki" << std::flush << "pedia" << std::flush;
    buffer.close();
    CHECK(all_of(stream) == expected);
}

/* A coder whose frame does not fit, and rooms that are too large. */
class too_long : public ev_buffered_stream {
public:
    explicit too_long(chunked_memory_stream *stream) : ev_buffered_stream(stream, 1024), length(4) { set_prefix_len(3); }
    void get_prefix(char *, std::streamsize, char *prefix, size_t) { memset(prefix, 'p', length); }
    size_t length;
};

static void rooms()
{
    chunked_memory_stream stream;
    too_long buffer(&stream);
    CHECK(buffer.sputn("abc", 3) == 3);
    REFUSED(EINVAL, buffer.sync() == -1);
    /* The bytes are still there, and go out when the frame fits. */
    buffer.length = 3;
    CHECK(buffer.sync() == 0 && all_of(stream) == "pppabc");
    /* A change of room sends what was collected, with its frame. */
    CHECK(buffer.sputn("d", 1) == 1);
    buffer.set_suffix_len(1);
    CHECK(all_of(stream) == "pppabcpppd");
    REFUSED(EINVAL, (buffer.set_prefix_len(65), 1));
    REFUSED(EINVAL, (buffer.set_suffix_len(65), 1));
    CHECK(buffer.sputn("e", 1) == 1 && buffer.sync() == 0 && all_of(stream) == "pppabcpppdpppe");
}

/* What one thread coded another decodes. */
static void handed_over()
{
    chunked_memory_stream stream;
    std::string sent(300000, '\xff');
    std::thread writer([&] {
        http_stream buffer(&stream, true);
        std::ostream out(&buffer);
        for (size_t place = 0; place < sent.size(); place += 3000) out << sent.substr(place, 3000) << std::flush;
        buffer.close();
    });
    writer.join();
    std::string got;
    std::thread reader([&] {
        http_stream buffer(&stream, true);
        for (int c = buffer.sbumpc(); c != traits::eof(); c = buffer.sbumpc()) got += static_cast<char>(c);
    });
    reader.join();
    CHECK(got == sent);
}

int main()
{
    small(true, "004\r\nWiki\r\n005\r\npedia\r\n00000\r\n\r\n");
    small(false, "4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n");
    body(true);
    body(false);
    rooms();
    handed_over();
    return 0;
}
