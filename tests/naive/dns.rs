//! Points 8 to 12: names.
