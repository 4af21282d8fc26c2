//! `weather.v1.Weather`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millstream_proto::weather::v1::weather_server::Weather;
use millstream_proto::weather::v1::{GetObservationRequest, GetWeatherStreamRequest, Observation};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::data::Data;

pub(super) struct Service {
    data: Arc<Data>,
    origins: BTreeSet<String>,
    /// Index of the observation of an hour, given in seconds since the epoch.
    by_hour: HashMap<(String, i64), usize>,
}

impl Service {
    pub(super) fn new(data: Arc<Data>) -> Self {
        let mut origins = BTreeSet::new();
        let mut by_hour = HashMap::new();
        for (index, observation) in data.observations.iter().enumerate() {
            let origin = &observation.origin;
            if !origins.contains(origin) {
                origins.insert(origin.clone());
            }
            if let Some(hour) = observation.hour {
                by_hour.insert((origin.clone(), hour.seconds), index);
            }
        }
        Self { data, origins, by_hour }
    }

    fn unknown(&self, origin: &str) -> Status {
        let origins: Vec<&str> = self.origins.iter().map(String::as_str).collect();
        Status::not_found(format!(
            "no observations of {origin:?}; there are those of {}",
            origins.join(", ")
        ))
    }
}

#[tonic::async_trait]
impl Weather for Service {
    async fn get_observation(
        &self,
        request: Request<GetObservationRequest>,
    ) -> Result<Response<Observation>, Status> {
        let GetObservationRequest { origin, hour } = request.into_inner();
        let hour = hour.ok_or_else(|| Status::invalid_argument("hour is missing"))?;
        if !self.origins.contains(&origin) {
            return Err(self.unknown(&origin));
        }
        let none = || Status::not_found(format!("no observation of {origin} at {hour}"));
        if hour.nanos != 0 {
            return Err(none());
        }
        let index = self.by_hour.get(&(origin.clone(), hour.seconds));
        let index = *index.ok_or_else(none)?;
        Ok(Response::new(self.data.observations[index].clone()))
    }

    type GetWeatherStreamStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<Observation, Status>> + Send>>;

    async fn get_weather_stream(
        &self,
        request: Request<GetWeatherStreamRequest>,
    ) -> Result<Response<Self::GetWeatherStreamStream>, Status> {
        let GetWeatherStreamRequest { origin, limit } = request.into_inner();
        if !origin.is_empty() && !self.origins.contains(&origin) {
            return Err(self.unknown(&origin));
        }
        let limit = match limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let data = self.data.clone();
        let admitted = (0..data.observations.len()).filter_map(move |index| {
            let observation = &data.observations[index];
            (origin.is_empty() || origin == observation.origin).then(|| Ok(observation.clone()))
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(admitted.take(limit)))))
    }
}
