//! Whether a Python value is JSON. This has nothing to do with sled: the package has a single Rust extension.

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple},
};

/// Each level takes a stack frame, and a thread may have a small stack.
const MOST_LEVELS: usize = 1000;

#[doc = doc!("is_json")]
#[pyfunction]
#[pyo3(signature = (value, levels, /))]
pub fn is_json(value: Bound<'_, PyAny>, levels: usize) -> PyResult<bool> {
    if levels > MOST_LEVELS {
        return Err(PyValueError::new_err(format!("levels are at most {MOST_LEVELS}, not {levels}")));
    }
    Ok(fits(&value, levels))
}

// No Python code runs here, and the GIL is held, so no container changes while it is read.
fn fits(value: &Bound<'_, PyAny>, levels: usize) -> bool {
    if value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>() {
        true
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        levels > 0 && list.iter().all(|each| fits(&each, levels - 1))
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        levels > 0 && dict.iter().all(|(key, each)| key.is_exact_instance_of::<PyString>() && fits(&each, levels - 1))
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        number.value().is_finite()
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        levels > 0 && tuple.iter().all(|each| fits(&each, levels - 1))
    } else {
        value.is_none() || value.is_exact_instance_of::<PyBool>()
    }
}
