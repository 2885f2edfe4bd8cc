/*
 * ev_buffered_stream.h: a std::streambuf over a chunked_memory_stream (C++11).
 *
 * What is written is collected in a buffer of 4096 bytes, which goes to the stream whole, without a copy, when it is full or
 * at a sync(). What is read is read where it lies, buffer by buffer; a buffer is erased from the stream when the next one is
 * asked for, so the one that was looked at last stays in the stream (see consume_all_of_max_len()).
 *
 * Framing, as for the chunked coding of HTTP: set_prefix_len() and set_suffix_len() keep room on both sides of the bytes
 * that are collected, and get_prefix() and get_suffix(), which a derived class overrides, say what goes there. For
 * reading, a derived class overrides read_from_source(), takes the frame apart with low_readch(), and gets the bytes between
 * by low_read_from_source().
 *
 * One thread at a time uses an object; the stream below may have its other end in another thread. A derived class that frames
 * calls sync() in its own destructor: in this one it cannot be asked for the frame any more, so what is left is dropped.
 */
#ifndef EFIO_DS_EV_BUFFERED_STREAM_H
#define EFIO_DS_EV_BUFFERED_STREAM_H

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ios>
#include <iosfwd>
#include <streambuf>
#include "chunked_memory_stream.h"

template <typename ch>
class buffer_allocator {
public:
    typedef ch char_type;

    static char_type *allocate(std::streamsize size) { return new char_type[static_cast<std::size_t>(size)]; }

    static void deallocate(char_type *ptr, std::streamsize) noexcept { delete[] ptr; }
};

class ev_buffered_stream : public std::basic_streambuf<char, std::char_traits<char> > {
protected:
    typedef std::basic_ios<char, std::char_traits<char> > ios;
    typedef ios::openmode openmode;

    static const int BUFFER_SIZE = 4096;
    /* The most room on one side. */
    static const int FRAME_MAX = 64;

    /*
     * Erases the bytes of the last call from the stream, and makes the next ones the get area: those of the first buffer, at
     * most `size`, and none beyond max_to_read. Returns how many; 0: nothing is there, or the limit is reached.
     */
    size_t low_read_from_source(std::streamsize size)
    {
        forget_get_area();
        if (size <= 0) return 0;
        if (_max_len >= 0) {
            if (room_left() == 0) return 0;
            if (static_cast<size_t>(size) > room_left()) size = static_cast<std::streamsize>(room_left());
        }
        void *node = _memory_stream ? _memory_stream->get_next(0) : 0;
        if (!node) return 0;
        size_t length = _memory_stream->get_buffer_len(node);
        if (length > static_cast<size_t>(size)) length = static_cast<size_t>(size);
        _p_buffer = static_cast<char *>(_memory_stream->get_buffer(node));
        _prev_len = length;
        _cum_len += length;
        return length;
    }

    /*
     * Puts the frame around `bytes` bytes, which lie in `buffer` behind the room for the prefix, and pushes the whole. Returns
     * how many bytes went to the stream; 0 with errno: nothing did, and the buffer is as it was.
     */
    size_t low_write_to_sync(char *buffer, std::streamsize bytes)
    {
        /* Longer than the room: one who writes too much is found out, not let on. */
        char prefix[FRAME_MAX + 64] = {0};
        char suffix[FRAME_MAX + 64] = {0};
        if (!buffer || bytes < 0) return refused(EINVAL);
        if (_max_len >= 0 && room_left() == 0) return refused(EFBIG);
        char *content = buffer + _prefix_len;
        size_t size = static_cast<size_t>(bytes);
        if (_prefix_len) get_prefix(content, bytes, prefix, _prefix_len);
        if (_suffix_len) get_suffix(content, bytes, suffix, _suffix_len);
        size_t before = std::strlen(prefix), after = std::strlen(suffix);
        if (before > _prefix_len || after > _suffix_len) return refused(EINVAL);
        if (before < _prefix_len) std::memmove(buffer + before, content, size);
        std::memcpy(buffer, prefix, before);
        std::memcpy(buffer + before + size, suffix, after);
        return push_to_sync(buffer, static_cast<std::streamsize>(before + size + after));
    }

    /* Sends what is collected: how many bytes, 0 if there are none, -1 if the stream did not take all of it. */
    int flush_buffer()
    {
        int count = static_cast<int>(this->pptr() - this->pbase());
        if (count == 0) return 0;
        if (!(_mode & ios::out)) return -1;
        _cut = false;
        size_t sent = write_to_sync(_w_buffer, count);
        if (!_w_buffer) {
            this->setp(0, 0);
            return _cut ? -1 : count;
        }
        /* Somebody who copied the bytes leaves the buffer. */
        if (sent < static_cast<size_t>(count)) return -1;
        place_put_area();
        return count;
    }

public:
    /*
     * A buffer over a stream, which outlives it. `bufsize` is the most bytes of one get area; `max_to_read` the most bytes
     * that go through in all, in both directions together; 0 and -1 mean no limit.
     */
    ev_buffered_stream(chunked_memory_stream *memory_stream, std::streamsize bufsize, std::streamsize max_to_read = -1)
        : _bufsize(bufsize > 0 ? bufsize : static_cast<std::streamsize>(BUFFER_SIZE)),
          _p_buffer(0),
          _mode(ios::out | ios::in),
          _memory_stream(memory_stream),
          _prev_len(0),
          _max_len(max_to_read > 0 ? max_to_read : -1),
          _cum_len(0),
          _w_buffer(0),
          _prefix_len(0),
          _suffix_len(0),
          _consume_all(false),
          _reading(false),
          _cut(false)
    {
    }

    ~ev_buffered_stream()
    {
        if (_consume_all && (_mode & ios::in) && _max_len > 0) {
            while (low_read_from_source(_bufsize)) {
            }
        }
        if (!_prefix_len && !_suffix_len) flush_buffer();
        std::free(_w_buffer);
    }

    virtual int overflow(int c)
    {
        if (!(_mode & ios::out) || flush_buffer() < 0) return traits_type::eof();
        if (!_w_buffer) {
            _w_buffer = static_cast<char *>(std::malloc(BUFFER_SIZE));
            if (!_w_buffer) return traits_type::eof();
            place_put_area();
        }
        if (!traits_type::eq_int_type(c, traits_type::eof())) {
            *this->pptr() = traits_type::to_char_type(c);
            this->pbump(1);
        }
        return traits_type::not_eof(c);
    }

    virtual int underflow()
    {
        if (!(_mode & ios::in)) return traits_type::eof();
        if (this->gptr() && this->gptr() < this->egptr()) return traits_type::to_int_type(*this->gptr());
        size_t count = high_read_from_source(_bufsize);
        /* A derived class may answer -1 for the end; more than was asked for is as wrong. */
        if (count == 0 || count > static_cast<size_t>(_bufsize) || !_p_buffer) return traits_type::eof();
        this->setg(_p_buffer, _p_buffer, _p_buffer + count);
        return traits_type::to_int_type(*this->gptr());
    }

    /* Sends what is collected. 0, or -1 if the stream did not take all of it. */
    virtual int sync() { return flush_buffer() < 0 ? -1 : 0; }

    /* ios::in, ios::out or both, which it is at first. */
    void set_mode(openmode mode) { _mode = mode; }

    openmode get_mode() const { return _mode; }

    /*
     * Pushes a buffer of malloc(3) to the stream below, which takes it, and returns how many of its bytes count: fewer than
     * given at the limit. 0 with errno (EFBIG at the limit, EINVAL): the buffer stays the caller's.
     */
    size_t push_to_sync(char *buffer, std::streamsize bytes)
    {
        if (!_memory_stream || !buffer || bytes <= 0) return refused(EINVAL);
        size_t length = static_cast<size_t>(bytes);
        if (_max_len >= 0) {
            if (room_left() == 0) return refused(EFBIG);
            if (length > room_left()) {
                length = room_left();
                _cut = true;
            }
        }
        if (_memory_stream->push(buffer, length) == 0) return 0;
        if (buffer == _w_buffer) _w_buffer = 0;
        _cum_len += length;
        return length;
    }

    /*
     * What goes before and behind the `bytes` bytes at `buffer`: up to `prefix_len` characters, ended by a zero, which is
     * there already. Fewer than there is room for leave no gap. More: the flush fails, and errno is EINVAL.
     */
    virtual void get_prefix(char *, std::streamsize, char *, size_t) {}
    virtual void get_suffix(char *, std::streamsize, char *, size_t) {}

    /* Room before and behind the bytes that are collected, at most 64 each (more changes nothing, and errno is EINVAL). */
    void set_prefix_len(size_t bytes) { set_room(&_prefix_len, bytes); }
    void set_suffix_len(size_t bytes) { set_room(&_suffix_len, bytes); }

    /* When this object ends, what is left below max_to_read is erased from the stream, as if it had been read. */
    void consume_all_of_max_len() { _consume_all = true; }

    /* Makes up to so many bytes the get area. For a derived class to take frames apart. */
    virtual size_t read_from_source(std::streamsize size) { return low_read_from_source(size); }

    /* Sends the bytes that are collected. For a derived class to do it in its own way. */
    virtual size_t write_to_sync(char *buffer, std::streamsize bytes) { return low_write_to_sync(buffer, bytes); }

    /* One byte of the stream below, 0 to 255, or EOF. Only within read_from_source(). */
    int low_readch()
    {
        if (!_reading || !_memory_stream) return traits_type::eof();
        forget_get_area();
        char c;
        if ((_max_len >= 0 && room_left() == 0) || _memory_stream->read(&c, 1) != 1) return traits_type::eof();
        _cum_len += 1;
        return traits_type::to_int_type(c);
    }

private:
    ev_buffered_stream(const ev_buffered_stream &) = delete;
    ev_buffered_stream &operator=(const ev_buffered_stream &) = delete;

    /* How much may still go through; only where there is a limit. */
    size_t room_left() const
    {
        size_t limit = static_cast<size_t>(_max_len);
        return _cum_len < limit ? limit - _cum_len : 0;
    }

    /* 0, with the reason. */
    static size_t refused(int reason)
    {
        errno = reason;
        return 0;
    }

    /* Erases what the get area was made of; no byte of it can be put back after that. */
    void forget_get_area()
    {
        if (_memory_stream) _memory_stream->erase(_prev_len);
        _prev_len = 0;
        _p_buffer = 0;
        this->setg(0, 0, 0);
    }

    size_t high_read_from_source(std::streamsize size)
    {
        struct marked {
            bool &mark;
            explicit marked(bool &flag) : mark(flag) { mark = true; }
            ~marked() { mark = false; }
        } reading(_reading);
        return read_from_source(size);
    }

    void place_put_area() { this->setp(_w_buffer + _prefix_len, _w_buffer + BUFFER_SIZE - _suffix_len); }

    void set_room(size_t *room, size_t bytes)
    {
        if (bytes > static_cast<size_t>(FRAME_MAX)) {
            errno = EINVAL;
            return;
        }
        /* What is collected has its frame still. */
        if (flush_buffer() < 0) return;
        *room = bytes;
        if (_w_buffer) place_put_area();
    }

    std::streamsize _bufsize;
    char *_p_buffer;
    openmode _mode;
    chunked_memory_stream *_memory_stream;
    size_t _prev_len;
    std::streamsize _max_len;
    size_t _cum_len;
    char *_w_buffer;
    size_t _prefix_len;
    size_t _suffix_len;
    bool _consume_all;
    bool _reading;
    bool _cut;
};

#endif
