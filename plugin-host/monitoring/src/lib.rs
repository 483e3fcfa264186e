//! Verdicts in; monitors, alerts and ticket actions out.
