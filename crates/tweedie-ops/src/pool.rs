//! A pool of buffers.
//!
//! A large array fresh from the system costs a page fault for every 4 KiB, which the kernel clears: a seventh of a
//! training step, once. Buffers return to the pool when they, or their tensors, are dropped, and are reused with
//! arbitrary contents. They begin at a multiple of 64 bytes, so that vectors of rows with the same alignment never
//! straddle two cache lines.

use burn_flex::{FlexTensor, Layout};
use burn_std::{
    AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes, DType, Shape,
};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// The floats of a cache line.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Least number of lines of a pooled buffer.
const SMALL: usize = 64;

struct Pool {
    /// By length in lines.
    idle: BTreeMap<usize, Vec<Vec<Line>>>,
    idle_lines: usize,
    live_lines: usize,
    most_live: usize,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { idle: BTreeMap::new(), idle_lines: 0, live_lines: 0, most_live: 0 });

/// The rounded length of a request, in steps of at most a quarter, so that similar shapes share buffers.
fn class(lines: usize) -> usize {
    let step = (lines.next_power_of_two() / 8).max(1);
    lines.next_multiple_of(step)
}

/// A buffer of floats; see the module's head.
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` floats with arbitrary values.
    pub fn new(len: usize) -> Self {
        let lines = len.div_ceil(LINE);
        let lines = if lines < SMALL { vec![Line([0.0; LINE]); lines] } else { take(class(lines)) };
        let mut buffer = Self { lines, len };
        // Fills the buffer, so that tests detect reads before writes.
        if cfg!(test) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// A buffer of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }

    /// A buffer with the values of a slice.
    pub fn copy(from: &[f32]) -> Self {
        let mut buffer = Self::new(from.len());
        buffer.copy_from_slice(from);
        buffer
    }

    /// A tensor of this shape with these values; the buffer returns when the tensor is dropped.
    ///
    /// # Panics
    /// If the shape has another number of elements.
    pub fn into_tensor(self, shape: impl Into<Shape>) -> FlexTensor {
        let shape = shape.into();
        assert_eq!(shape.num_elements(), self.len);
        let bytes = self.len * size_of::<f32>();
        // SAFETY: all lines of a buffer are initialised, and `bytes` of them at least are there.
        let bytes = unsafe { Bytes::from_controller(Box::new(self), bytes) };
        FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is LINE floats without padding, and there are lines for `len` floats.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the lines are borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.lines.len() >= SMALL {
            give(std::mem::take(&mut self.lines));
        }
    }
}

impl AllocationController for Buffer {
    fn alloc_align(&self) -> usize {
        align_of::<Line>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes = size_of_val(self.lines.as_slice());
        // SAFETY: the lines are that many bytes, borrowed exclusively; the caller promises to write initialised
        // values only.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), bytes) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes = size_of_val(self.lines.as_slice());
        // SAFETY: the lines are that many bytes.
        Ok(unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), bytes) })
    }
}

/// A pooled buffer of `lines` lines or up to twice as many.
fn take(lines: usize) -> Vec<Line> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let found = pool.idle.range_mut(lines..=2 * lines).find_map(|(_, idle)| idle.pop());
    let size = found.as_ref().map_or(lines, Vec::len);
    if found.is_some() {
        pool.idle_lines -= size;
    }
    pool.live_lines += size;
    pool.most_live = pool.most_live.max(pool.live_lines);
    drop(pool);
    found.unwrap_or_else(|| vec![Line([0.0; LINE]); lines])
}

/// Returns a buffer to the pool; frees idle buffers, the smallest first, beyond the peak of buffers in use.
fn give(buffer: Vec<Line>) {
    let mut freed = Vec::new();
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let size = buffer.len();
    pool.live_lines = pool.live_lines.saturating_sub(size);
    pool.idle_lines += size;
    pool.idle.entry(size).or_default().push(buffer);
    while pool.idle_lines + pool.live_lines > pool.most_live {
        let Some(mut entry) = pool.idle.first_entry() else { break };
        let last = entry.get_mut().pop();
        if entry.get().is_empty() {
            entry.remove();
        }
        pool.idle_lines -= last.as_ref().map_or(0, Vec::len);
        freed.push(last);
    }
}
