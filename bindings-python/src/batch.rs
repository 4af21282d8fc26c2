//! Batches: messages that came together.

use std::{
    ffi::c_int,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use millstream_boundary::{self as boundary, PREFIX};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyIndexError, PyTypeError},
    ffi,
    prelude::*,
    types::{PyInt, PyList, PySlice},
};

use crate::{codecs::Codecs, convert, guard};

/// Messages that came together: a sequence of them, and a buffer.
///
/// Iterating and indexing give messages, deserialized if the call has a deserializer.
/// `memoryview(batch)` shows the raw frames without a copy: for each message a zero byte, the
/// length as four bytes in network order, the payload.
#[pyclass(frozen, generic, sequence, module = "millstream")]
pub struct Batch {
    batch: boundary::Batch,
    /// Where the first message is that was not handed out before.
    start: usize,
    len: usize,
    codecs: Codecs,
    /// Where each frame begins; made when somebody asks for an index.
    index: OnceLock<Box<[usize]>>,
}

impl Batch {
    pub fn new(batch: boundary::Batch, codecs: Codecs) -> Batch {
        let taken = batch.len() - batch.remaining();
        let start = batch.iter().take(taken).map(|message| PREFIX + message.len()).sum();
        let len = batch.remaining();
        Batch { batch, start, len, codecs, index: OnceLock::new() }
    }

    fn frames(&self) -> &[u8] {
        &self.batch.frames()[self.start..]
    }

    fn index(&self) -> &[usize] {
        self.index.get_or_init(|| {
            let mut at = 0;
            let mut index = Vec::with_capacity(self.len);
            while let Some((_, end)) = self.frame(at) {
                index.push(at);
                at = end;
            }
            index.into()
        })
    }

    /// The payload of the frame at `at`, and where the next frame begins.
    fn frame(&self, at: usize) -> Option<(&[u8], usize)> {
        let (prefix, rest) = self.frames().get(at..)?.split_first_chunk::<PREFIX>()?;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        Some((rest.get(..length)?, at + PREFIX + length))
    }

    fn message<'py>(&self, py: Python<'py>, at: usize) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let (payload, end) =
            self.frame(at).ok_or_else(|| PyIndexError::new_err("past the end of the batch"))?;
        let message = convert::bytes(py, payload)?;
        Ok((self.codecs.deserialize(message)?, end))
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.len
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        guard::enter(py, || {
            let index = self.index();
            if let Ok(slice) = key.cast::<PySlice>() {
                let slice = slice.indices(self.len as isize)?;
                let list = PyList::empty(py);
                let mut at = slice.start;
                for _ in 0..slice.slicelength {
                    list.append(self.message(py, index[at as usize])?.0)?;
                    at += slice.step;
                }
                return Ok(list.into_any());
            }
            let at: isize = key.extract().map_err(|_| {
                if key.is_instance_of::<PyInt>() {
                    return PyIndexError::new_err(format!("{key} is too large for an index"));
                }
                PyTypeError::new_err(format!(
                    "a batch is indexed by integers and slices, not {}",
                    key.get_type()
                ))
            })?;
            let at = if at < 0 { at + self.len as isize } else { at };
            match usize::try_from(at).ok().and_then(|at| index.get(at)) {
                Some(at) => Ok(self.message(py, *at)?.0),
                None => Err(PyIndexError::new_err(format!(
                    "there are {} messages in the batch",
                    self.len
                ))),
            }
        })
    }

    fn __iter__(slf: Bound<'_, Self>) -> BatchIterator {
        let left = slf.get().len.into();
        BatchIterator { batch: slf.unbind(), at: AtomicUsize::new(0), left }
    }

    fn __repr__(&self) -> String {
        format!("<millstream.Batch of {} messages, {} bytes>", self.len, self.frames().len())
    }

    /// # Safety
    /// `view` is a buffer structure to fill, as CPython promises.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let frames = slf.get().frames();
        // SAFETY: the frames live and do not move as long as the batch, of which the view gets a
        // reference; it is read-only. CPython checks the flags.
        let filled = unsafe {
            let data = frames.as_ptr().cast_mut().cast();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data, frames.len() as _, 1, flags)
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.codecs.visit(&visit)
    }
}

/// The messages of a batch, one after the other.
#[pyclass(frozen, generic, module = "millstream")]
pub struct BatchIterator {
    batch: Py<Batch>,
    at: AtomicUsize,
    left: AtomicUsize,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __length_hint__(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard::enter(py, || {
            // Threads that share the iterator may get a message twice, but only whole ones: the
            // position is always the begin of a frame or the end.
            let batch = self.batch.get();
            let Some((payload, end)) = batch.frame(self.at.load(Ordering::Relaxed)) else {
                return Ok(None);
            };
            let message = convert::bytes(py, payload)?;
            self.at.store(end, Ordering::Relaxed);
            self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
            batch.codecs.deserialize(message).map(Some)
        })
    }
}
