//! Errors become exceptions.

use std::{any::Any, fmt, sync::RwLock};

use jni::{
    Env, EnvUnowned,
    errors::ErrorPolicy,
    ids::JMethodID,
    jni_sig, jni_str,
    objects::{JByteArray, JClass, JObject, JThrowable},
    refs::{Reference, Weak},
    sys::jvalue,
};
use millstream_boundary::{Error, ErrorCode};

use crate::wire;

/// The class `MillstreamException` and its constructor for this library.
struct Exception {
    /// Weak, since a global reference would keep the class loader, and with it the application
    /// that loaded us, alive for ever. Whoever calls a native keeps it alive meanwhile.
    class: Weak<JClass<'static>>,
    constructor: JMethodID,
}

static EXCEPTION: RwLock<Option<Exception>> = RwLock::new(None);

/// Looks the exception class up, on the loading thread: later threads may have class loaders that
/// know nothing of it. A library that is loaded again, for another class loader, replaces it.
pub fn remember_exception(env: &mut Env<'_>) -> jni::errors::Result<()> {
    let class = env.find_class(jni_str!("dev/millstream/MillstreamException"))?;
    let constructor =
        env.get_method_id(&class, jni_str!("<init>"), jni_sig!((int, [byte], [byte]) -> void))?;
    let class = env.new_weak_ref(&class)?;
    *EXCEPTION.write().unwrap_or_else(|poisoned| poisoned.into_inner()) =
        Some(Exception { class, constructor });
    Ok(())
}

/// What a native fails with.
#[derive(Debug)]
pub struct Failure(pub Error);

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Failure {
        Failure(of_jni(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// A JNI function failed. When it left an exception, that one goes to the caller instead.
pub fn of_jni(error: jni::errors::Error) -> Error {
    Error::new(ErrorCode::System, format!("a function of the JVM failed: {error}"))
}

/// Throws a `MillstreamException` for every failure, unless an exception is pending already.
pub struct Throw;

impl<T: Default> ErrorPolicy<T, Failure> for Throw {
    type Captures<'unowned_env_local: 'native_method, 'native_method> = ();

    fn on_error<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut (),
        failure: Failure,
    ) -> jni::errors::Result<T> {
        throw(env, &failure.0)?;
        Ok(T::default())
    }

    fn on_panic<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut (),
        payload: Box<dyn Any + Send>,
    ) -> jni::errors::Result<T> {
        // What natives do runs inside `enter`, so this is only the glue around it. The payload is
        // leaked: dropping it might panic once more.
        std::mem::forget(payload);
        let text = "a defect in the JVM binding of Millstream; only this operation failed";
        throw(env, &Error::new(ErrorCode::InternalPanic, text))?;
        Ok(T::default())
    }

    fn on_internal_jni_error<'unowned_env_local: 'native_method, 'native_method>(
        _captures: &mut (),
        _error: jni::errors::Error,
    ) -> T {
        // An exception of the JVM, such as OutOfMemoryError, is pending and tells more than we can.
        T::default()
    }

    fn on_internal_panic<'unowned_env_local: 'native_method, 'native_method>(
        _captures: &mut (),
        payload: Box<dyn Any + Send>,
    ) -> T {
        std::mem::forget(payload);
        T::default()
    }
}

/// For raw natives.
#[cold]
pub fn throw_raw<T: Default>(mut env: EnvUnowned<'_>, error: Error) -> T {
    env.with_env(|_| Err(Failure(error))).resolve::<Throw>()
}

fn throw(env: &mut Env<'_>, error: &Error) -> jni::errors::Result<()> {
    if env.exception_check() {
        return Ok(());
    }
    let (class, constructor) = {
        let exception = EXCEPTION.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(exception) = &*exception else {
            return Err(jni::errors::Error::NullPtr("the class of exceptions"));
        };
        (exception.class.upgrade_local(env)?, exception.constructor)
    };
    let class: JClass<'_> =
        class.ok_or(jni::errors::Error::NullPtr("the class of exceptions was unloaded"))?;
    let message = env.byte_array_from_slice(error.message.as_bytes())?;
    let status = match &error.status {
        Some(status) => env.byte_array_from_slice(&wire::status(status))?,
        None => JByteArray::default(),
    };
    let arguments = [
        jvalue { i: error.code as i32 },
        jvalue { l: message.as_raw() },
        jvalue { l: status.as_raw() },
    ];
    // SAFETY: the id is of the constructor (int, byte[], byte[]) of this very class, which is
    // loaded, since we hold a reference.
    let exception: JObject<'_> =
        unsafe { env.new_object_unchecked(&class, constructor, &arguments)? };
    let exception = env.cast_local::<JThrowable>(exception)?;
    match env.throw(exception) {
        // Success, by design of the crate.
        Err(jni::errors::Error::JavaException) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}
