//! The IOS configuration language: command tree, typed model, rendering.
