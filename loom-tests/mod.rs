//! Loom models of the hand-overs, each with a broken twin that loom must catch.
