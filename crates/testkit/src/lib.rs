//! What the tests stand on: origins, raw sockets, fixtures.
