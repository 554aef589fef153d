//! Bytes across the border: arguments without a copy, results with a single one.

use std::path::PathBuf;

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};
use sled::IVec;

use crate::error::Error;

/// What is read or written in one go ends early when its pairs have more bytes than that.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A key or value given by the caller. `bytes` is borrowed as it stands, because nobody can change it while the GIL is
/// released; any other buffer can change under our feet, so it is copied first.
pub enum Data<'a, 'py> {
    Borrowed(Borrowed<'a, 'py, PyBytes>),
    Copied(Bound<'py, PyBytes>),
}

impl Data<'_, '_> {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Data::Borrowed(bytes) => bytes.as_bytes(),
            Data::Copied(bytes) => bytes.as_bytes(),
        }
    }

    pub fn to_ivec(&self) -> IVec {
        IVec::from(self.as_slice())
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Data<'a, 'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Data::Borrowed(bytes));
        }
        if let Ok(array) = object.cast::<PyByteArray>() {
            return Ok(Data::Copied(PyBytes::new(object.py(), &array.to_vec())));
        }
        let view = match PyMemoryView::from(&object) {
            Ok(view) => view,
            Err(error) if !error.is_instance_of::<PyTypeError>(object.py()) => return Err(error), // it was released, say
            Err(_) => {
                let cure = if object.is_instance_of::<PyString>() { ": use .encode()" } else { "" };
                let found = object.get_type().name()?;
                return Err(PyTypeError::new_err(format!("keys and values are bytes, not {found}{cure}")));
            }
        };
        Ok(Data::Copied(view.call_method0("tobytes")?.cast_into()?))
    }
}

/// The name of a tree: text stands for its UTF-8 bytes, as in Rust.
pub struct Name(pub Vec<u8>);

impl FromPyObject<'_, '_> for Name {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Name(text.encode_utf8()?.as_bytes().to_vec()));
        }
        match object.extract::<Data<'_, '_>>() {
            Ok(bytes) => Ok(Name(bytes.as_slice().to_vec())),
            Err(_) => Err(not("a tree's name is str or bytes", &object)?),
        }
    }
}

/// The folder of a database.
pub struct Folder(pub PathBuf);

impl FromPyObject<'_, '_> for Folder {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(path) => Ok(Folder(path)),
            Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
                Err(not("a folder is str or os.PathLike", &object)?)
            }
            Err(error) => Err(error),
        }
    }
}

/// The number that an option has.
pub struct Number(pub u64);

impl FromPyObject<'_, '_> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(number) => Ok(Number(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Err(Error::Misuse(format!("an option's number is from 0 to 2**64 - 1, not {}", *object)).into())
            }
            Err(error) => Err(error),
        }
    }
}

fn not(what: &str, object: &Borrowed<'_, '_, PyAny>) -> PyResult<PyErr> {
    Ok(PyTypeError::new_err(format!("{what}, not {}", object.get_type().name()?)))
}

/// Bytes that sled handed out; they become `bytes` with their only copy.
pub struct Blob(pub IVec);

impl<'py> IntoPyObject<'py> for Blob {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

/// A pair that sled handed out.
pub fn pair((key, value): (IVec, IVec)) -> (Blob, Blob) {
    (Blob(key), Blob(value))
}
