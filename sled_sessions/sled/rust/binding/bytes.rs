//! Arguments from Python and bytes back to it: arguments without a copy, results with a single one.

use std::path::PathBuf;

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};
use sled::IVec;

use crate::error::Error;

/// A key or value given by the caller. `bytes` is borrowed, because it cannot change while the GIL is released. Any
/// other buffer can, so it is copied first.
pub enum Buffer<'a, 'py> {
    Borrowed(Borrowed<'a, 'py, PyBytes>),
    Copied(Bound<'py, PyBytes>),
}

impl Buffer<'_, '_> {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Buffer::Borrowed(bytes) => bytes.as_bytes(),
            Buffer::Copied(bytes) => bytes.as_bytes(),
        }
    }

    pub fn to_ivec(&self) -> IVec {
        IVec::from(self.as_slice())
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Buffer<'a, 'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Buffer::Borrowed(bytes));
        }
        if let Ok(array) = object.cast::<PyByteArray>() {
            return Ok(Buffer::Copied(PyBytes::new(object.py(), &array.to_vec())));
        }
        let view = match PyMemoryView::from(&object) {
            Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
                let cure = if object.is_instance_of::<PyString>() { ": use .encode()" } else { "" };
                let found = object.get_type().name()?;
                return Err(PyTypeError::new_err(format!("keys and values are bytes, not {found}{cure}")));
            }
            view => view?, // fails for a memoryview that was released
        };
        Ok(Buffer::Copied(view.call_method0("tobytes")?.cast_into()?))
    }
}

/// The name of a tree; text stands for its UTF-8 bytes, as in Rust.
pub struct TreeName(pub Vec<u8>);

impl FromPyObject<'_, '_> for TreeName {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(TreeName(text.encode_utf8()?.as_bytes().to_vec()));
        }
        match object.extract::<Buffer<'_, '_>>() {
            Ok(bytes) => Ok(TreeName(bytes.as_slice().to_vec())),
            Err(_) => Err(type_error("a tree's name is str or bytes", &object)?),
        }
    }
}

/// The path of a database's folder.
pub struct Folder(pub PathBuf);

impl FromPyObject<'_, '_> for Folder {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract::<PathBuf>() {
            Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
                Err(type_error("a folder is str or os.PathLike", &object)?)
            }
            path => path.map(Folder),
        }
    }
}

/// The value of a numeric option.
pub struct Number(pub u64);

impl FromPyObject<'_, '_> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract::<u64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Err(Error::Misuse(format!("numeric options are from 0 to 2**64 - 1, not {}", *object)).into())
            }
            number => number.map(Number),
        }
    }
}

fn type_error(expected: &str, object: &Borrowed<'_, '_, PyAny>) -> PyResult<PyErr> {
    Ok(PyTypeError::new_err(format!("{expected}, not {}", object.get_type().name()?)))
}

/// Bytes that sled returned; converting them to `bytes` makes their only copy.
pub struct Bytes(pub IVec);

impl<'py> IntoPyObject<'py> for Bytes {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

/// A pair that sled returned.
pub fn pair((key, value): (IVec, IVec)) -> (Bytes, Bytes) {
    (Bytes(key), Bytes(value))
}

pub type PyPair<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub fn new_pair<'py>(py: Python<'py>, key: &[u8], value: &[u8]) -> PyPair<'py> {
    (PyBytes::new(py, key), PyBytes::new(py, value))
}
