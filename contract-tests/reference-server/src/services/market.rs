//! `market.v1.MarketData`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millstream_proto::market::v1::market_data_server::MarketData;
use millstream_proto::market::v1::{PriceUpdate, SubscribeRequest};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::data::Data;

pub(super) struct Service {
    replays: Arc<Replays>,
}

/// The ticks of each symbol, with their place among all ticks.
struct Replays {
    data: Arc<Data>,
    places: Vec<Vec<usize>>,
}

impl Service {
    pub(super) fn new(data: Arc<Data>) -> Self {
        let places = data.symbols.iter().map(|symbol| {
            let ticks = data.ticks.iter().enumerate();
            let own = ticks.filter(|(_, tick)| tick.symbol == *symbol);
            own.map(|(place, _)| place).collect()
        });
        Self { replays: Arc::new(Replays { places: places.collect(), data }) }
    }
}

#[derive(Clone, Copy, Default)]
struct Subscription {
    active: bool,
    /// Ticks of the symbol that were sent.
    sent: usize,
}

struct Updates {
    replays: Arc<Replays>,
    requests: Streaming<SubscribeRequest>,
    /// By symbol.
    subscriptions: Vec<Subscription>,
    half_closed: bool,
    failed: bool,
}

impl Updates {
    fn apply(&mut self, request: &SubscribeRequest) -> Result<(), Status> {
        let symbols = &self.replays.data.symbols;
        let find = |name: &String| {
            symbols.iter().position(|symbol| symbol == name).ok_or_else(|| {
                Status::invalid_argument(format!(
                    "unknown symbol {name:?}; the symbols are {}",
                    symbols.join(", ")
                ))
            })
        };
        let add: Vec<_> = request.add.iter().map(find).collect::<Result<_, _>>()?;
        let remove: Vec<_> = request.remove.iter().map(find).collect::<Result<_, _>>()?;
        for symbol in add {
            self.subscriptions[symbol].active = true;
        }
        for symbol in remove {
            self.subscriptions[symbol].active = false;
        }
        Ok(())
    }

    fn next_update(&mut self) -> Option<PriceUpdate> {
        let Replays { data, places } = &*self.replays;
        let (place, symbol) = (0..self.subscriptions.len())
            .filter(|symbol| self.subscriptions[*symbol].active)
            .filter_map(|symbol| {
                let place = places[symbol].get(self.subscriptions[symbol].sent)?;
                Some((*place, symbol))
            })
            .min()?;
        let sent = &mut self.subscriptions[symbol].sent;
        *sent += 1;
        Some(PriceUpdate { sequence: *sent as u64, ..data.ticks[place].clone() })
    }
}

impl Stream for Updates {
    type Item = Result<PriceUpdate, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.half_closed && !self.failed {
            let result = match Pin::new(&mut self.requests).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.half_closed = true;
                    break;
                }
                Poll::Ready(Some(request)) => request.and_then(|request| self.apply(&request)),
            };
            if let Err(status) = result {
                self.failed = true;
                return Poll::Ready(Some(Err(status)));
            }
        }
        if self.failed {
            return Poll::Ready(None);
        }
        match self.next_update() {
            Some(update) => Poll::Ready(Some(Ok(update))),
            None if self.half_closed => Poll::Ready(None),
            // The requests wake this task.
            None => Poll::Pending,
        }
    }
}

#[tonic::async_trait]
impl MarketData for Service {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<PriceUpdate, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(Response::new(Box::pin(Updates {
            subscriptions: vec![Subscription::default(); self.replays.data.symbols.len()],
            replays: self.replays.clone(),
            requests: request.into_inner(),
            half_closed: false,
            failed: false,
        })))
    }
}
