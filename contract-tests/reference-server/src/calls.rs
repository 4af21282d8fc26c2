//! What every method does alike: echoes `x-echo-*` metadata, counts calls by `x-call-id`, and
//! compresses answers as `x-respond-with` asks.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use millstream_proto::contract::v1::StatsResponse;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

const CALL_ID: &str = "x-call-id";
const RESPOND_WITH: &str = "x-respond-with";
const ECHO_PREFIX: &str = "x-echo-";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Call ids that are remembered; the oldest go first.
const REMEMBERED: usize = 65_536;

/// How the calls with an `x-call-id` stand.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    total: StatsResponse,
    by_id: HashMap<String, StatsResponse>,
    order: VecDeque<String>,
}

impl Calls {
    /// The calls of this id; of every id when it is empty.
    pub fn stats(&self, id: &str) -> StatsResponse {
        let counts = self.lock();
        match id {
            "" => counts.total,
            id => counts.by_id.get(id).copied().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counters are right after every statement, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, id: &str) -> OpenCall {
        let mut counts = self.lock();
        if !counts.by_id.contains_key(id) {
            if counts.order.len() == REMEMBERED
                && let Some(oldest) = counts.order.pop_front()
            {
                counts.by_id.remove(&oldest);
            }
            counts.order.push_back(id.to_owned());
            counts.by_id.insert(id.to_owned(), StatsResponse::default());
        }
        counts.change(id, |stats| stats.open += 1);
        OpenCall { calls: self.clone(), id: id.to_owned(), completed: false }
    }
}

impl Counts {
    fn change(&mut self, id: &str, change: impl Fn(&mut StatsResponse)) {
        change(&mut self.total);
        if let Some(stats) = self.by_id.get_mut(id) {
            change(stats);
        }
    }
}

/// Dropped before the status is out: the call was cancelled.
#[derive(Debug)]
struct OpenCall {
    calls: Calls,
    id: String,
    completed: bool,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let completed = self.completed;
        self.calls.lock().change(&self.id, |stats| {
            // An id that was forgotten and came again starts from zero.
            stats.open = stats.open.saturating_sub(1);
            if completed {
                stats.completed += 1;
            } else {
                stats.cancelled += 1;
            }
        });
    }
}

/// The `grpc-accept-encoding` that the client sent, before [`CallsLayer`] narrowed it.
#[derive(Debug, Clone)]
pub(crate) struct Offered(pub HeaderValue);

/// Wraps all services in [`CallsService`].
#[derive(Debug, Clone)]
pub struct CallsLayer(pub Calls);

impl<S> Layer<S> for CallsLayer {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallsService { inner, calls: self.0.clone() }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct CallsService<S> {
    inner: S,
    calls: Calls,
}

impl<S> Service<Request<Body>> for CallsService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let headers = request.headers();
        let echo = echoed(headers);
        let call =
            headers.get(CALL_ID).and_then(|id| id.to_str().ok()).map(|id| self.calls.open(id));

        let refused = choose_encoding(&mut request).err();
        let answer = refused.is_none().then(|| self.inner.call(request));
        Box::pin(async move {
            let mut response = match (answer, refused) {
                (Some(answer), _) => answer.await?,
                (None, status) => status.unwrap_or_else(|| Status::internal("")).into_http(),
            };
            append(response.headers_mut(), &echo);
            if echo.is_empty() && call.is_none() {
                return Ok(response);
            }
            let mut body = CallBody { inner: Body::empty(), echo, call };
            if response.headers().contains_key("grpc-status") {
                // Trailers-Only: no trailers follow.
                body.completed();
                return Ok(response);
            }
            Ok(response.map(|inner| Body::new(CallBody { inner, ..body })))
        })
    }
}

fn echoed(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(ECHO_PREFIX))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn append(headers: &mut HeaderMap, echo: &[(HeaderName, HeaderValue)]) {
    for (name, value) in echo {
        headers.append(name.clone(), value.clone());
    }
}

/// tonic compresses with the first encoding that the client accepts; so that is narrowed to the
/// one that is asked for, or to none.
fn choose_encoding(request: &mut Request<Body>) -> Result<(), Status> {
    let offered = request.headers_mut().remove(ACCEPT_ENCODING);
    let wanted = request.headers().get(RESPOND_WITH).cloned();
    if let Some(wanted) = wanted {
        let wanted = wanted.to_str().unwrap_or_default();
        if !["gzip", "deflate", "zstd"].contains(&wanted) {
            return Err(Status::invalid_argument(format!(
                "{RESPOND_WITH}: {wanted:?} is none of gzip, deflate, zstd"
            )));
        }
        let list = offered.as_ref().and_then(|offered| offered.to_str().ok());
        let list = list.unwrap_or("identity");
        if !list.split(',').any(|name| name.trim() == wanted) {
            return Err(Status::invalid_argument(format!(
                "{RESPOND_WITH}: {wanted}, but the client accepts only {list}"
            )));
        }
        let only = HeaderValue::from_str(wanted).map_err(|_| Status::internal(""))?;
        request.headers_mut().insert(ACCEPT_ENCODING, only);
    }
    if let Some(offered) = offered {
        request.extensions_mut().insert(Offered(offered));
    }
    Ok(())
}

/// Adds the echoed metadata to the trailers, and sees whether the call comes to its end.
#[derive(Debug)]
struct CallBody {
    inner: Body,
    echo: Vec<(HeaderName, HeaderValue)>,
    call: Option<OpenCall>,
}

impl CallBody {
    fn completed(&mut self) {
        if let Some(call) = &mut self.call {
            call.completed = true;
        }
        self.call = None;
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    append(trailers, &self.echo);
                    self.completed();
                }
            }
            Poll::Ready(None) => self.completed(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
