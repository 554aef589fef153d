//! `open()`, with sled's options checked, and the open databases.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use crate::{
    binding::{
        bytes::{Folder, Number},
        db::Db,
        tree::Tree,
    },
    disk::{
        conf::{SEGMENT_SIZES, is_segment_size},
        private::Mode,
    },
    error::{Error, Result},
    runtime::{
        engine, fork, guard,
        opening::{self, Options},
    },
};

/// sled panics below this.
const MIN_CACHE_CAPACITY: u64 = 256;

// Options of sled that are left out: its `mode` and `snapshot_after_ops` do nothing in 0.34, `compression_factor` needs a
// feature that is not built in, `print_profile_on_drop` needs sled's metrics, `snapshot_path` is gone, and changing a
// database's `idgen_persist_interval` makes sled issue ids twice.
#[doc = doc!("open")]
#[pyfunction]
#[pyo3(signature = (
    path = None,
    *,
    cache_capacity = Number(1024 * 1024 * 1024),
    flush_every_ms = Some(Number(500)),
    create_new = false,
    temporary = false,
    segment_size = None,
    mode = Number(0o600),
), text_signature = "(path=None, *, cache_capacity=1073741824, flush_every_ms=500, create_new=False, temporary=False, \
    segment_size=None, mode=0o600)")]
#[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
pub fn open(
    py: Python<'_>,
    path: Option<Folder>,
    cache_capacity: Number,
    flush_every_ms: Option<Number>,
    create_new: bool,
    temporary: bool,
    segment_size: Option<Number>,
    mode: Number,
) -> Result<Py<Db>> {
    if path.is_none() && !temporary {
        return Err(PyTypeError::new_err("open() needs a path unless temporary=True").into());
    }
    if cache_capacity.0 < MIN_CACHE_CAPACITY {
        return Err(Error::Misuse(format!("cache_capacity must be at least {MIN_CACHE_CAPACITY} bytes")));
    }
    let flush_every_ms = flush_every_ms.map(|Number(milliseconds)| milliseconds);
    if flush_every_ms == Some(0) {
        return Err(Error::Misuse("flush_every_ms must be at least 1, or None to flush only on request".into()));
    }
    let segment_size = segment_size.map(|Number(size)| usize::try_from(size).unwrap_or(usize::MAX));
    if segment_size.is_some_and(|size| !is_segment_size(size)) {
        let (least, most) = SEGMENT_SIZES.into_inner();
        return Err(Error::Misuse(format!("segment_size must be a power of two from {least} to {most}")));
    }
    let mode = Mode::new(mode.0).ok_or_else(|| {
        Error::Misuse(
            "mode is permissions of files that let their owner read and write, such as 0o600, 0o640 or 0o660".into(),
        )
    })?;
    let config =
        sled::Config::new().cache_capacity(cache_capacity.0).flush_every_ms(flush_every_ms).temporary(temporary);
    let path = path.map(|Folder(path)| path);
    let options = Options { temporary, create_new, segment_size, mode };
    let engine = guard::call(py, || opening::open(config, path, options))?;
    let (tree, recovered) = engine.with(|db| Ok(((**db).clone(), db.was_recovered())))?;
    let base = Tree::new(engine.handle(tree), None);
    let db = Bound::new(py, PyClassInitializer::from(base).add_subclass(Db::new(engine.clone(), recovered)))?;
    let _ = engine.object.set(PyWeakrefReference::new(&db)?.unbind());
    Ok(db.unbind())
}

#[doc = doc!("open_databases")]
#[pyfunction]
pub fn open_databases(py: Python<'_>) -> Vec<Bound<'_, PyAny>> {
    if fork::is_forked() {
        return Vec::new(); // they are the parent's
    }
    engine::all().iter().filter_map(|engine| engine.object.get()?.bind(py).upgrade()).collect()
}
