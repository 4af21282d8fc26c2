//! RST_STREAM with every code at every place.

use crate::{
    frames::error,
    script::{Fault, Step, data, head, message, ok, trailers},
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with("ResetBeforeHead", "<code>", "RST_STREAM with this code, no head.", |request| {
        Some(vec![Step::AwaitRequest, Step::Reset(request.number()?)])
    }),
    Fault::with("ResetAfterHead", "<code>", "A head, then RST_STREAM with this code.", |request| {
        Some(vec![Step::AwaitRequest, head(), Step::Reset(request.number()?)])
    }),
    Fault::with(
        "ResetAfterMessage",
        "<code>",
        "A head and a whole message, then RST_STREAM with this code.",
        |request| {
            let code = request.number()?;
            Some(vec![Step::AwaitRequest, head(), data(message(b"whole")), Step::Reset(code)])
        },
    ),
    Fault::with(
        "ResetInsideMessage",
        "<code>",
        "A head and half of a message, then RST_STREAM with this code.",
        |request| {
            let half = message(b"never whole")[..8].to_vec();
            Some(vec![Step::AwaitRequest, head(), data(half), Step::Reset(request.number()?)])
        },
    ),
    Fault::with(
        "ResetAfterOk",
        "<code>",
        "A complete good response, then RST_STREAM with this code, which changes nothing.",
        |request| {
            let code = request.number()?;
            Some(vec![Step::AwaitRequest, head(), data(message(b"whole")), ok(), Step::Reset(code)])
        },
    ),
    Fault::with(
        "ResetAfterStatus",
        "<code>",
        "NOT_FOUND, then RST_STREAM with this code, which changes nothing.",
        |request| {
            let code = request.number()?;
            Some(vec![Step::AwaitRequest, head(), trailers(5, "not there"), Step::Reset(code)])
        },
    ),
    Fault::with(
        "RefusedOnce",
        "<key>",
        "The first call of each pair is refused with REFUSED_STREAM, the second is good. Any key \
         makes a path of its own.",
        |request| {
            Some(if request.attempt % 2 == 1 {
                vec![Step::Reset(error::REFUSED_STREAM)]
            } else {
                vec![head(), Step::Echo, ok()]
            })
        },
    ),
];
