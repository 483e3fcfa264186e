//! The whole system, as a user sees it: the tests are in `tests/whole`, one binary so that they link once.
