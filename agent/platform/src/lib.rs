//! The only home of operating-system code and of unsafe.
