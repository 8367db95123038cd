//! Big-endian reads and writes at fixed offsets of a slice whose length the caller has checked.

/// Reads a `u16`. The view's `new_checked` has verified `offset + 2 <= bytes.len()`.
#[inline(always)]
pub(crate) fn read_u16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([bytes[offset], bytes[offset + 1]])
}

/// Reads a `u32`. The view's `new_checked` has verified `offset + 4 <= bytes.len()`.
#[inline(always)]
pub(crate) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(read_array(bytes, offset))
}

/// Copies `N` bytes out. The view's `new_checked` has verified `offset + N <= bytes.len()`.
#[inline(always)]
pub(crate) fn read_array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[offset..offset + N]);
    array
}

/// Writes `value`; the caller has verified that it fits.
#[inline(always)]
pub(crate) fn write_u16(bytes: &mut [u8], offset: usize, value: u16) {
    bytes[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes `value`; the caller has verified that it fits.
#[inline(always)]
pub(crate) fn write_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
}
