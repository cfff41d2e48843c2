//! From what waits for values to plain ops.
