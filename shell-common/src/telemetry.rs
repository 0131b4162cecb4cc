//! OpenTelemetry: traces and metrics of a worker, sent to a collector over OTLP (HTTP, protobuf).
//!
//! The variables are those of OpenTelemetry's specification, read by its own library:
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and the others that begin with `OTEL_`. What a span is, the core says
//! ([`Span`]); what a metric is, is said where `/metrics` is made.

mod meters;
mod traces;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use pgai_core::Span;
use reqwest::blocking::Client;

use crate::certificates::client_config;
use crate::monitoring::{Asker, Inquirer};
use crate::program::Failure;
use meters::Meters;
use traces::Traces;

/// The name of the service, if `OTEL_SERVICE_NAME` gives none; the same as that of pgai-rs.
const SERVICE: &str = "pgai-worker";
/// What is still to be sent at the end of the process gets this long.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What is sent to a collector. When it is dropped, what is left is sent.
#[derive(Debug)]
pub(crate) struct Telemetry {
    traces: Option<Traces>,
    /// It exports from a thread of its own until it is dropped.
    _meters: Option<Meters>,
}

impl Telemetry {
    /// Starts what the environment asks for; `None` if that is nothing.
    ///
    /// # Errors
    /// If a variable is wrong.
    pub(crate) fn start(
        environment: &BTreeMap<String, String>,
        version: &'static str,
        inquirer: &Inquirer,
        asker: &Asker,
    ) -> Result<Option<Self>, Failure> {
        let wanted = Wanted::of(environment)?;
        if !wanted.traces && !wanted.metrics {
            return Ok(None);
        }
        let resource = resource(environment, version);
        let client = client()?;
        let wrong =
            |error: &dyn std::fmt::Display| Failure::Usage(format!("OpenTelemetry: {error}"));
        let traces = wanted
            .traces
            .then(|| Traces::new(client.clone(), &resource));
        let meters = wanted
            .metrics
            .then(|| Meters::new(client, resource, inquirer.clone(), asker.clone()));
        Ok(Some(Self {
            traces: traces.transpose().map_err(|error| wrong(&error))?,
            _meters: meters.transpose().map_err(|error| wrong(&error))?,
        }))
    }

    pub(crate) const fn wants_spans(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends spans, soon. `began` is the moment of [`Time::ZERO`](pgai_core::Time::ZERO).
    pub(crate) fn spans(&self, began: SystemTime, spans: Vec<Span>) {
        if let Some(traces) = &self.traces {
            traces.send(began, spans);
        }
    }
}

/// What the environment asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Wanted {
    traces: bool,
    metrics: bool,
}

impl Wanted {
    /// Without an address nothing is sent: the specification's default, a collector on this machine, would make
    /// every worker without one complain.
    fn of(environment: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let value = |name: &str| environment.get(name).map_or("", |value| value.trim());
        let is_off = value("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true");
        let has_any = !value("OTEL_EXPORTER_OTLP_ENDPOINT").is_empty();
        let wants = |endpoint: &str, exporter: &str| {
            let has_address = has_any || !value(endpoint).is_empty();
            match value(exporter) {
                "none" => Ok(false),
                "" | "otlp" => Ok(has_address && !is_off),
                other => Err(Failure::Usage(format!(
                    "{exporter}={other}: this worker exports otlp, or none"
                ))),
            }
        };
        let wanted = Self {
            traces: wants("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")?,
            metrics: wants(
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "OTEL_METRICS_EXPORTER",
            )?,
        };
        let names = [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        ];
        for name in names {
            let protocol = value(name);
            if (wanted.traces || wanted.metrics) && !matches!(protocol, "" | "http/protobuf") {
                return Err(Failure::Usage(format!(
                    "{name}={protocol}: this worker speaks http/protobuf only; collectors listen for it on port 4318"
                )));
            }
        }
        Ok(wanted)
    }
}

fn resource(environment: &BTreeMap<String, String>, version: &'static str) -> Resource {
    let attributes = environment.get("OTEL_RESOURCE_ATTRIBUTES");
    let has_name = environment.contains_key("OTEL_SERVICE_NAME")
        || attributes.is_some_and(|attributes| attributes.contains("service.name="));
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", version));
    if has_name {
        builder.build()
    } else {
        builder.with_service_name(SERVICE).build()
    }
}

/// A client with the authorities that the worker trusts elsewhere, too.
fn client() -> Result<Client, Failure> {
    let refused = |reason: String| Failure::Failed(format!("OpenTelemetry: {reason}"));
    let tls = client_config(true).map_err(refused)?;
    let client = Client::builder().tls_backend_preconfigured(tls).build();
    client.map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> Result<(bool, bool), Failure> {
        let variables = variables.iter();
        let environment = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let wanted = Wanted::of(&environment.collect())?;
        Ok((wanted.traces, wanted.metrics))
    }

    #[test]
    fn nothing_is_sent_without_an_address() {
        const ANY: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces");
        assert_eq!(wanted(&[]), Ok((false, false)));
        assert_eq!(wanted(&[ANY]), Ok((true, true)));
        assert_eq!(wanted(&[traces]), Ok((true, false)));
        assert_eq!(
            wanted(&[ANY, ("OTEL_SDK_DISABLED", "TRUE")]),
            Ok((false, false))
        );
        assert_eq!(
            wanted(&[ANY, ("OTEL_METRICS_EXPORTER", "none")]),
            Ok((true, false))
        );
        assert!(wanted(&[ANY, ("OTEL_TRACES_EXPORTER", "zipkin")]).is_err());
        assert!(wanted(&[ANY, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_err());
        assert_eq!(
            wanted(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]),
            Ok((false, false))
        );
    }
}
