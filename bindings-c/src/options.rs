//! Option structs: what a channel and a call can be told.

use std::{ffi::c_char, ptr, time::Duration};

use millstream_boundary::{CallOptions, ChannelOptions, Compression};

use crate::{
    arguments::{self, invalid},
    bytes::mill_slice,
    error::Failure,
    guard::guard,
    metadata::{self, mill_metadata_entry},
    status::mill_status,
};

/// How outgoing messages are compressed.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // C passes the numbers
pub enum mill_compression {
    /// Not at all.
    MILL_COMPRESSION_IDENTITY = 0,
    /// RFC 1952.
    MILL_COMPRESSION_GZIP = 1,
    /// RFC 1950, the zlib form.
    MILL_COMPRESSION_DEFLATE = 2,
    /// RFC 8878.
    MILL_COMPRESSION_ZSTD = 3,
}

/// One channel option as texts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_setting {
    /// Name of the option; see `mill_channel_options`.
    pub name: *const c_char,
    /// Its value: a text, a size (`65536`, `64KiB`, `4MiB`), a duration (`1500ms`, `30s`, `5m`,
    /// `1h`), a count, or `true` and `false`.
    pub value: *const c_char,
}

/// What a channel can be told. Fill it by `mill_channel_options_init` first, then set what differs.
/// It is read during `mill_channel_open` only.
///
/// | setting | value | default |
/// |---|---|---|
/// | authority | text | that of the target |
/// | user_agent | text, put before Millstream's own | none |
/// | server_name | text: the name that the server's certificate must be for | host of the target |
/// | max_receive_message | size, inflated | 4MiB |
/// | max_send_message | size, before compression | no limit |
/// | max_metadata | size of received headers or trailers | 8KiB |
/// | keepalive_time | duration (at least 10s) or `none` | none |
/// | keepalive_timeout | duration | 20s |
/// | keepalive_without_calls | true or false | false |
/// | connect_timeout | duration of one attempt | 20s |
/// | backoff_initial | duration before the second attempt | 1s |
/// | backoff_max | duration | 120s |
/// | max_connections | count | 100 |
/// | stream_window | size of the HTTP/2 window of a stream | 256KiB |
/// | buffers | size: bytes that wait per call, in each direction | 256KiB |
/// | idle_timeout | duration or `none`: close an unused connection | 5m |
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_channel_options {
    /// Size of this struct; set by `mill_channel_options_init`.
    pub struct_size: usize,
    /// For `https` targets: certificates to trust, as PEM. Empty: those of the operating system.
    pub roots_pem: mill_slice,
    /// For mutual TLS: the client's certificate chain, as PEM. Empty: no client certificate.
    pub cert_chain_pem: mill_slice,
    /// For mutual TLS: the client's private key, as PEM.
    pub private_key_pem: mill_slice,
    /// Array of further options; may be NULL when `settings_count` is 0. The last one of a name wins.
    pub settings: *const mill_setting,
    /// Number of elements of `settings`.
    pub settings_count: usize,
}

/// What one call can be told. Fill it by `mill_call_options_init` first, then set what differs. It
/// is read during the function that starts the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_call_options {
    /// Size of this struct; set by `mill_call_options_init`.
    pub struct_size: usize,
    /// Bounds the whole call, from its start to its status, in milliseconds. `MILL_FOREVER` (and
    /// any negative number): no bound.
    pub timeout_ms: i64,
    /// Array of what is sent with the request; may be NULL when `metadata_count` is 0.
    pub metadata: *const mill_metadata_entry,
    /// Number of elements of `metadata`.
    pub metadata_count: usize,
    /// A `mill_compression`.
    pub compression: i32,
    /// Not 0: wait for a connection. 0: fail at once with UNAVAILABLE while there is none.
    pub wait_for_ready: i32,
    /// The `:authority` of this call. NULL: that of the channel.
    pub authority: *const c_char,
    /// Largest message that is received, in bytes, if smaller than the channel's limit. 0: the
    /// channel's limit.
    pub max_receive_message: usize,
    /// Largest message that is sent, in bytes, if smaller than the channel's limit. 0: the channel's
    /// limit.
    pub max_send_message: usize,
    /// Let received messages gather this long before the consumer is woken, in microseconds: fewer
    /// wakes for some latency. 0: wake at once.
    pub max_batch_delay_us: u64,
}

/// A struct that grows: a caller may have been compiled with a shorter or a longer one.
///
/// # Safety
/// `repr(C)`, every bit pattern is a value, and `struct_size` is the first field.
unsafe trait OptionStruct: Copy {
    /// For messages.
    const NAME: &'static str;
    /// Size of the first version that was released.
    const FIRST: usize;
    const DEFAULT: Self;
}

// SAFETY: numbers and pointers alone, the size first.
unsafe impl OptionStruct for mill_channel_options {
    const NAME: &'static str = "mill_channel_options";
    const FIRST: usize = 9 * size_of::<usize>();
    const DEFAULT: Self = mill_channel_options {
        struct_size: size_of::<Self>(),
        roots_pem: mill_slice::EMPTY,
        cert_chain_pem: mill_slice::EMPTY,
        private_key_pem: mill_slice::EMPTY,
        settings: ptr::null(),
        settings_count: 0,
    };
}

// SAFETY: numbers and pointers alone, the size first.
unsafe impl OptionStruct for mill_call_options {
    const NAME: &'static str = "mill_call_options";
    const FIRST: usize = size_of::<mill_call_options>();
    const DEFAULT: Self = mill_call_options {
        struct_size: size_of::<Self>(),
        timeout_ms: -1,
        metadata: ptr::null(),
        metadata_count: 0,
        compression: mill_compression::MILL_COMPRESSION_IDENTITY as i32,
        wait_for_ready: 0,
        authority: ptr::null(),
        max_receive_message: 0,
        max_send_message: 0,
        max_batch_delay_us: 0,
    };
}

/// No option struct will ever be as long: a larger size is a field that was never set.
const LONGEST: usize = 4096;

fn check_size<T: OptionStruct>(struct_size: usize) -> Result<(), Failure> {
    if (T::FIRST..=LONGEST).contains(&struct_size) {
        return Ok(());
    }
    Err(invalid(format!(
        "struct_size of {name} is {struct_size}, at least {first} is needed; fill it by {name}_init",
        name = T::NAME,
        first = T::FIRST,
    )))
}

/// # Safety
/// `options` is NULL or valid for the write of `struct_size` bytes.
unsafe fn init<T: OptionStruct>(options: *mut T, struct_size: usize) -> Result<(), Failure> {
    check_size::<T>(struct_size)?;
    if options.is_null() {
        return Err(invalid(format!("the {} to fill is NULL", T::NAME)));
    }
    let mut default = T::DEFAULT;
    // SAFETY: `struct_size` is the first field of every option struct.
    unsafe { ptr::from_mut(&mut default).cast::<usize>().write(struct_size) };
    let known = struct_size.min(size_of::<T>());
    // SAFETY: valid for `struct_size` bytes by the contract; `known` is not larger than either side.
    unsafe {
        options.cast::<u8>().write_bytes(0, struct_size);
        ptr::copy_nonoverlapping(ptr::from_ref(&default).cast::<u8>(), options.cast(), known);
    }
    Ok(())
}

/// The options of a caller, the defaults for NULL.
///
/// # Safety
/// `options` is NULL or readable for as many bytes as its `struct_size` says.
unsafe fn read<T: OptionStruct>(options: *const T) -> Result<T, Failure> {
    let mut result = T::DEFAULT;
    if options.is_null() {
        return Ok(result);
    }
    if !options.is_aligned() {
        return Err(invalid(format!("{} is not aligned for its type", T::NAME)));
    }
    // SAFETY: readable, aligned, and the size is the first field.
    let struct_size = unsafe { options.cast::<usize>().read() };
    check_size::<T>(struct_size)?;
    let known = struct_size.min(size_of::<T>());
    // SAFETY: readable for `struct_size` bytes; any bytes are a value of an option struct.
    unsafe {
        ptr::copy_nonoverlapping(options.cast::<u8>(), ptr::from_mut(&mut result).cast(), known);
    }
    // SAFETY: the rest of what the caller says is readable.
    let unknown =
        unsafe { arguments::array(options.cast::<u8>().add(known), struct_size - known, T::NAME) }?;
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(invalid(format!(
            "{} sets options that this version of libmillstream does not know; install the version \
             whose header the program was compiled with",
            T::NAME
        )));
    }
    Ok(result)
}

/// # Safety
/// `options` is NULL or an initialised option struct whose pointers are readable.
pub(crate) unsafe fn channel_options(
    options: *const mill_channel_options,
) -> Result<ChannelOptions, Failure> {
    // SAFETY: the same contract.
    let options = unsafe { read(options) }?;
    let mut result = ChannelOptions::default();
    let pem = |slice: mill_slice, name: &str| -> Result<Option<Vec<u8>>, Failure> {
        // SAFETY: the contract covers the slices.
        let bytes = unsafe { arguments::bytes(slice, name) }?;
        Ok((!bytes.is_empty()).then(|| bytes.to_vec()))
    };
    result.tls.roots_pem = pem(options.roots_pem, "roots_pem")?;
    result.tls.cert_chain_pem = pem(options.cert_chain_pem, "cert_chain_pem")?;
    result.tls.private_key_pem = pem(options.private_key_pem, "private_key_pem")?;
    // SAFETY: the contract covers the array and its texts.
    let settings =
        unsafe { arguments::array(options.settings, options.settings_count, "settings") };
    for setting in settings? {
        // SAFETY: see above.
        let name = unsafe { arguments::text(setting.name, "the name of a setting") }?;
        // SAFETY: see above.
        let value = unsafe { arguments::text(setting.value, "the value of a setting") }?;
        result.set(name, value)?;
    }
    Ok(result)
}

/// # Safety
/// `options` is NULL or an initialised option struct whose pointers are readable.
pub(crate) unsafe fn call_options(
    options: *const mill_call_options,
) -> Result<CallOptions, Failure> {
    // SAFETY: the same contract.
    let options = unsafe { read(options) }?;
    let compression = Compression::from_i32(options.compression).ok_or_else(|| {
        invalid(format!("compression is {}; pass a mill_compression, 0 to 3", options.compression))
    })?;
    // SAFETY: the contract covers the entries.
    let metadata = unsafe { metadata::to_send(options.metadata, options.metadata_count) }?;
    // SAFETY: the contract covers the text.
    let authority = unsafe { arguments::optional_text(options.authority, "authority") }?;
    let limit = |bytes: usize| (bytes != 0).then_some(bytes);
    Ok(CallOptions {
        timeout: arguments::wait(options.timeout_ms),
        metadata,
        compression,
        wait_for_ready: options.wait_for_ready != 0,
        authority: authority.map(str::to_owned),
        max_receive_message: limit(options.max_receive_message),
        max_send_message: limit(options.max_send_message),
        max_batch_delay: Duration::from_micros(options.max_batch_delay_us),
    })
}

/// Fills channel options with the defaults. Pass `sizeof(mill_channel_options)` as `struct_size`: it
/// lets a program and a library of different versions work together.
///
/// Ownership: the struct stays the caller's; nothing in it needs to be freed.
/// Threads: any; no other thread may use the struct at the same time.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` when options is NULL or the size cannot be right.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_options_init(
    options: *mut mill_channel_options,
    struct_size: usize,
) -> mill_status {
    // SAFETY: the caller passes NULL or `struct_size` writable bytes.
    unsafe { guard(ptr::null_mut(), || init(options, struct_size)) }
}

/// Fills call options with the defaults. Pass `sizeof(mill_call_options)` as `struct_size`: it lets
/// a program and a library of different versions work together.
///
/// Ownership: the struct stays the caller's; nothing in it needs to be freed.
/// Threads: any; no other thread may use the struct at the same time.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` when options is NULL or the size cannot be right.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_options_init(
    options: *mut mill_call_options,
    struct_size: usize,
) -> mill_status {
    // SAFETY: the caller passes NULL or `struct_size` writable bytes.
    unsafe { guard(ptr::null_mut(), || init(options, struct_size)) }
}

#[cfg(test)]
mod tests {
    use millstream_boundary::CHANNEL_OPTION_NAMES;

    use super::*;

    #[repr(C)]
    struct Longer {
        options: mill_call_options,
        added_later: u64,
    }

    const LONGER: usize = size_of::<Longer>();

    fn longer() -> Longer {
        let mut longer = Longer { options: mill_call_options::DEFAULT, added_later: u64::MAX };
        // SAFETY: the whole struct is ours to write.
        let result =
            unsafe { init(ptr::from_mut(&mut longer).cast::<mill_call_options>(), LONGER) };
        assert!(result.is_ok());
        longer
    }

    #[test]
    fn a_longer_struct_of_a_newer_header_is_filled_and_read() {
        let longer = longer();
        assert_eq!((longer.options.struct_size, longer.added_later), (LONGER, 0));
        // SAFETY: initialised and alive, and so is what stands behind.
        let read = unsafe { call_options(ptr::from_ref(&longer).cast()) };
        assert!(read.is_ok());
    }

    #[test]
    fn an_option_that_this_version_does_not_know_is_refused_and_not_ignored() {
        let mut longer = longer();
        longer.added_later = 1;
        // SAFETY: initialised and alive, and so is what stands behind.
        let read = unsafe { call_options(ptr::from_ref(&longer).cast()) };
        assert_eq!(
            read.err().map(|failure| failure.code()),
            Some(mill_status::MILL_ERROR_INVALID_ARGUMENT)
        );
    }

    #[test]
    fn a_struct_that_was_never_initialised_is_refused() {
        for struct_size in [0, 8, mill_call_options::FIRST - 1, LONGEST + 1, usize::MAX] {
            let options = mill_call_options { struct_size, ..mill_call_options::DEFAULT };
            // SAFETY: alive; refused before more than its size is read.
            assert!(unsafe { call_options(&options) }.is_err(), "{struct_size}");
        }
    }

    #[test]
    fn every_setting_of_the_core_is_in_the_table_of_the_header() {
        let header = include_str!("options.rs");
        for (name, _) in CHANNEL_OPTION_NAMES {
            assert!(header.contains(&format!("/// | {name} | ")), "{name} is not documented");
        }
    }

    #[test]
    fn the_defaults_in_the_table_of_the_header_are_those_of_the_core()
    -> Result<(), Box<dyn std::error::Error>> {
        let rows = include_str!("options.rs").lines().filter_map(|line| {
            let mut cells = line.strip_prefix("/// | ")?.trim_end_matches(" |").split(" | ");
            Some((cells.next()?, cells.nth(1)?))
        });
        let mut checked = 0;
        for (name, default) in rows {
            let mut set = ChannelOptions::default();
            // What is not a value itself ("no limit") cannot be checked this way.
            if set.set(name, default).is_ok()
                && !["authority", "user_agent", "server_name"].contains(&name)
            {
                assert_eq!(
                    format!("{set:?}"),
                    format!("{:?}", ChannelOptions::default()),
                    "{name}"
                );
                checked += 1;
            }
        }
        assert_eq!(checked, 12, "rows of the table that hold a default value");
        Ok(())
    }
}
