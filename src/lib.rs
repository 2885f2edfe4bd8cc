//! efio: files that behave like sockets, for event-driven programs.
