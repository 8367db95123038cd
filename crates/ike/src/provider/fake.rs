//! A backend without cryptography.
