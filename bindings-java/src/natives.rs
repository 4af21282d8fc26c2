//! The native methods of `dev.millstream.internal.Native`, documented there.

use std::{sync::Arc, time::Duration};

use jni::{
    Env, EnvUnowned, NativeMethod, jni_str, native_method,
    objects::{JByteArray, JClass, JLongArray},
    refs::Reference,
    sys::{jboolean, jint, jlong},
};
use millstream_boundary::{
    self as boundary, Batch, CHANNEL_OPTION_NAMES, CallKind, Channel, ConnectivityState, Error,
    ErrorCode, Interest, Queue, Received, enter, errors, handles::HandleTable,
};

use crate::{
    error::{Failure, Throw, of_jni, throw_raw},
    raw,
    table::{CALLS, CHANNELS, JavaCall, QUEUES, Taken},
    wire,
};

/// What `describe` tells.
const VERSION: jint = 0;
const BUILD_ID: jint = 1;
const ERROR_TABLE: jint = 2;
const CHANNEL_OPTIONS: jint = 3;

/// What `callRead` reads beside the interests HEADERS and STATUS.
const RESULT: jint = 16;

/// What `callTake` answers instead of a number of bytes.
const EMPTY: jint = 0;
const END: jint = -1;

const METHODS: &[NativeMethod<'static>] = &[
    native_method! { error_policy = Throw, static fn describe(what: jint) -> [jbyte] },
    native_method! { error_policy = Throw, static fn live(what: jint) -> jlong },
    native_method! { error_policy = Throw, static fn channel_open(spec: [jbyte]) -> jlong },
    native_method! {
        error_policy = Throw, static fn channel_state(channel: jlong, connect: jboolean) -> jint
    },
    native_method! {
        error_policy = Throw,
        static fn channel_watch(channel: jlong, last: jint, queue: jlong, tag: jlong)
    },
    native_method! { error_policy = Throw, static fn channel_close(channel: jlong) },
    native_method! {
        error_policy = Throw,
        static fn call_start(
            channel: jlong,
            kind: jint,
            path: [jbyte],
            options: [jbyte],
            message: [jbyte],
        ) -> jlong
    },
    native_method! {
        static raw fn call_send(
            call: jlong,
            data: [jbyte],
            offset: jint,
            length: jint,
            packed: jboolean,
        ) -> jint
    },
    native_method! { error_policy = Throw, static fn call_half_close(call: jlong) },
    native_method! { error_policy = Throw, static fn call_cancel(call: jlong, reason: [jbyte]) },
    native_method! { static raw fn call_take(call: jlong, into: [jbyte]) -> jint },
    native_method! {
        static raw fn call_wait(call: jlong, interest: jint, nanos: jlong) -> jboolean
    },
    native_method! {
        error_policy = Throw,
        static fn call_watch(call: jlong, interest: jint, queue: jlong, tag: jlong)
    },
    native_method! { error_policy = Throw, static fn call_read(call: jlong, what: jint) -> [jbyte] },
    native_method! { error_policy = Throw, static fn queue_open() -> jlong },
    native_method! {
        error_policy = Throw, static fn queue_wait(queue: jlong, tags: [jlong], nanos: jlong) -> jint
    },
    native_method! { error_policy = Throw, static fn release(handle: jlong) },
];

/// Binds the methods to the class, which must have all of them.
pub fn register(env: &mut Env<'_>) -> jni::errors::Result<()> {
    let class = env.find_class(jni_str!("dev/millstream/internal/Native"))?;
    // SAFETY: all of the methods are static ones there, and take the class as such.
    unsafe { env.register_native_methods(&class, METHODS) }
}

#[track_caller]
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    enter(work).map_err(Failure)
}

fn insert<T: Send + Sync>(table: &HandleTable<T>, object: T) -> Result<jlong, Error> {
    match table.insert(Arc::new(object)) {
        0 => Err(Error::new(ErrorCode::OutOfMemory, "all handles are in use; close something")),
        handle => Ok(handle as jlong),
    }
}

fn copy_of(env: &Env<'_>, array: &JByteArray<'_>) -> Result<Vec<u8>, Error> {
    if array.is_null() {
        return Err(Error::new(ErrorCode::InvalidArgument, "the array is null"));
    }
    env.convert_byte_array(array).map_err(of_jni)
}

fn timeout(nanos: jlong) -> Option<Duration> {
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

fn unknown(what: &str, number: jint) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("there is no {what} {number}"))
}

// ---- the library

fn describe<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    what: jint,
) -> Result<JByteArray<'local>, Failure> {
    guarded(|| {
        let text = match what {
            VERSION => boundary::version().to_owned(),
            BUILD_ID => boundary::build_id().to_owned(),
            ERROR_TABLE => error_table(),
            CHANNEL_OPTIONS => CHANNEL_OPTION_NAMES
                .iter()
                .map(|(name, form)| format!("{name}\t{form}\n"))
                .collect(),
            other => return Err(unknown("description", other)),
        };
        env.byte_array_from_slice(text.as_bytes()).map_err(of_jni)
    })
}

fn error_table() -> String {
    let line = |entry: &errors::ErrorEntry| {
        let grpc = entry.grpc.map_or(-1, |code| code as i32);
        format!("{}\t{}\t{grpc}\t{}\n", entry.number, entry.name, entry.retryable)
    };
    errors::TABLE.iter().map(line).collect()
}

fn live<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    what: jint,
) -> Result<jlong, Failure> {
    guarded(|| {
        let live = boundary::live();
        match what {
            0 => Ok(live.channels as jlong),
            1 => Ok(live.calls as jlong),
            2 => Ok(live.queues as jlong),
            other => Err(unknown("sort of object", other)),
        }
    })
}

fn release<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    handle: jlong,
) -> Result<(), Failure> {
    guarded(|| {
        let handle = handle as u64;
        // The kind stands in the handle; each table refuses what is not its own.
        let released = CALLS
            .remove(handle)
            .map(drop)
            .or_else(|_| CHANNELS.remove(handle).map(drop))
            .or_else(|_| QUEUES.remove(handle).map(drop));
        released.map_err(|_| {
            Error::new(ErrorCode::InvalidHandle, format!("{handle:#x} is no handle that is in use"))
        })
    })
}

// ---- channels

fn channel_open<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    spec: JByteArray<'local>,
) -> Result<jlong, Failure> {
    guarded(|| {
        let (target, options) = wire::channel(&copy_of(env, &spec)?)?;
        insert(&CHANNELS, Channel::open(&target, options)?)
    })
}

fn channel_state<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    channel: jlong,
    connect: jboolean,
) -> Result<jint, Failure> {
    guarded(|| {
        let channel = CHANNELS.get(channel as u64)?;
        channel.check()?;
        if connect {
            channel.connect();
        }
        Ok(channel.state() as jint)
    })
}

fn channel_watch<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    channel: jlong,
    last: jint,
    queue: jlong,
    tag: jlong,
) -> Result<(), Failure> {
    guarded(|| {
        use ConnectivityState::{Connecting, Idle, Ready, Shutdown, TransientFailure};
        let last = [Idle, Connecting, Ready, TransientFailure, Shutdown]
            .into_iter()
            .find(|state| *state as jint == last)
            .ok_or_else(|| unknown("connectivity state", last))?;
        let queue = QUEUES.get(queue as u64)?;
        CHANNELS.get(channel as u64)?.watch_state(last, &queue, tag as u64)
    })
}

fn channel_close<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    channel: jlong,
) -> Result<(), Failure> {
    guarded(|| {
        CHANNELS.get(channel as u64)?.close();
        Ok(())
    })
}

// ---- calls

fn call_start<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    channel: jlong,
    kind: jint,
    path: JByteArray<'local>,
    options: JByteArray<'local>,
    message: JByteArray<'local>,
) -> Result<jlong, Failure> {
    guarded(|| {
        let kind = CallKind::from_i32(kind).ok_or_else(|| unknown("kind of call", kind))?;
        let path = wire::text(&copy_of(env, &path)?, "the path of the method")?;
        let options = wire::call_options(&copy_of(env, &options)?)?;
        let channel = CHANNELS.get(channel as u64)?;
        let call = if message.is_null() {
            channel.call(&path, kind, options)?
        } else {
            channel.call_with(&path, kind, options, &copy_of(env, &message)?)?
        };
        insert(&CALLS, JavaCall::new(call))
    })
}

fn call_send<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    call: jlong,
    data: JByteArray<'local>,
    offset: jint,
    length: jint,
    packed: jboolean,
) -> jint {
    let sent = enter(|| {
        let call = CALLS.get(call as u64)?;
        raw::with_range(&env, &data, offset, length, |bytes| {
            if !packed {
                return Ok(jint::from(call.call.try_send(bytes)?));
            }
            let accepted = call.call.try_send_many(&mut wire::Frames::new(bytes)?)?;
            Ok(wire::first_frames(bytes, accepted) as jint)
        })
    });
    sent.unwrap_or_else(|error| throw_raw(env, error))
}

fn call_half_close<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    call: jlong,
) -> Result<(), Failure> {
    guarded(|| CALLS.get(call as u64)?.call.half_close())
}

fn call_cancel<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    call: jlong,
    reason: JByteArray<'local>,
) -> Result<(), Failure> {
    guarded(|| {
        let reason = copy_of(env, &reason)?;
        CALLS.get(call as u64)?.call.cancel(&String::from_utf8_lossy(&reason));
        Ok(())
    })
}

fn call_take<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    call: jlong,
    into: JByteArray<'local>,
) -> jint {
    let taken = enter(|| {
        let call = CALLS.get(call as u64)?;
        let room = raw::length(&env, &into)?;
        match call.take(room, |frames| raw::write(&env, &into, frames))? {
            Taken::Bytes(count) => Ok(count as jint),
            Taken::Empty => Ok(EMPTY),
            Taken::End => Ok(END),
            Taken::TooLarge(size) => jint::try_from(size).map(|size| -size).map_err(|_| {
                Error::new(
                    ErrorCode::OutOfMemory,
                    format!("a message of {size} bytes is larger than an array of the JVM"),
                )
            }),
        }
    });
    taken.unwrap_or_else(|error| throw_raw(env, error))
}

fn call_wait<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    call: jlong,
    interest: jint,
    nanos: jlong,
) -> jboolean {
    let ready = enter(|| {
        let call = CALLS.get(call as u64)?;
        call.call.wait(Interest(interest as u32), timeout(nanos))
    });
    ready.unwrap_or_else(|error| throw_raw(env, error))
}

fn call_watch<'local>(
    _env: &mut Env<'local>,
    _class: JClass<'local>,
    call: jlong,
    interest: jint,
    queue: jlong,
    tag: jlong,
) -> Result<(), Failure> {
    guarded(|| {
        let queue = QUEUES.get(queue as u64)?;
        CALLS.get(call as u64)?.call.watch(Interest(interest as u32), &queue, tag as u64)
    })
}

fn call_read<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    call: jlong,
    what: jint,
) -> Result<JByteArray<'local>, Failure> {
    const HEADERS: jint = Interest::HEADERS.0 as jint;
    const STATUS: jint = Interest::STATUS.0 as jint;
    guarded(|| {
        let call = CALLS.get(call as u64)?;
        call.call.check()?;
        let bytes = match what {
            HEADERS => call.call.headers().map(|headers| wire::metadata(&headers)),
            STATUS => call.call.status().map(|status| wire::status(&status)),
            RESULT => result(&call)?,
            other => return Err(unknown("thing to read", other)),
        };
        match bytes {
            Some(bytes) => env.byte_array_from_slice(&bytes).map_err(of_jni),
            None => Ok(JByteArray::default()),
        }
    })
}

/// The one message of a call that has ended OK.
fn result(call: &JavaCall) -> Result<Option<Vec<u8>>, Error> {
    let mut batch = Batch::new();
    match call.call.try_batch(&mut batch)? {
        Received::Messages => Ok(batch.next().map(<[u8]>::to_vec)),
        Received::Empty | Received::End => Ok(None),
    }
}

// ---- queues

fn queue_open<'local>(_env: &mut Env<'local>, _class: JClass<'local>) -> Result<jlong, Failure> {
    guarded(|| insert(&QUEUES, Queue::new()?))
}

fn queue_wait<'local>(
    env: &mut Env<'local>,
    _class: JClass<'local>,
    queue: jlong,
    tags: JLongArray<'local>,
    nanos: jlong,
) -> Result<jint, Failure> {
    guarded(|| {
        let queue = QUEUES.get(queue as u64)?;
        let room = tags.len(env).map_err(of_jni)?;
        if !queue.wait(timeout(nanos))? {
            return Ok(0);
        }
        let mut ready = Vec::with_capacity(room);
        queue.drain(&mut ready, room);
        let ready: Vec<jlong> = ready.into_iter().map(|tag| tag as jlong).collect();
        tags.set_region(env, 0, &ready).map_err(of_jni)?;
        Ok(ready.len() as jint)
    })
}
