//! Bytes across the border: arguments without a copy, results with a single one.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};
use sled::IVec;

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
        let Ok(view) = PyMemoryView::from(&object) else {
            let cure = if object.is_instance_of::<PyString>() { ": use .encode()" } else { "" };
            let found = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!("keys and values are bytes, not {found}{cure}")));
        };
        Ok(Data::Copied(view.call_method0("tobytes")?.cast_into()?))
    }
}

/// The name of a tree: text stands for its UTF-8 bytes, as in Rust.
pub struct Name(pub Vec<u8>);

impl FromPyObject<'_, '_> for Name {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.cast::<PyString>() {
            Ok(text) => Ok(Name(text.encode_utf8()?.as_bytes().to_vec())),
            Err(_) => Ok(Name(object.extract::<Data<'_, '_>>()?.as_slice().to_vec())),
        }
    }
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
