//! `--service-ports`, `SERVICE_PORTS` and `SPECIFIC_ADDR`: where the local service listens. Pure.

use std::fmt;
use std::str::FromStr;

use mesher_actors::snapshot::Protocol;

use crate::handler::destination::LocalPort;

/// One port of the local service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `rest` or `grpc`.
    pub protocol: String,
    /// What follows the first `-` of the name: tells several ports of one protocol apart.
    pub suffix: Option<String>,
    /// Port number, not 0.
    pub port: u16,
}

/// The ports of the local service, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePorts(pub Vec<ServicePort>);

/// What is wrong with a list of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServicePortsError {
    /// An item has no `name:port` form.
    #[error(
        "`{0}` is not of the form protocol:port or protocol-suffix:port, as in rest:8080 or rest-admin:8081"
    )]
    Form(String),
    /// The protocol is none that mesher carries.
    #[error("`{0}` is not a protocol; use rest (HTTP) or grpc, as in rest:8080")]
    Protocol(String),
    /// The port is none.
    #[error("`{0}` is not a port; use 1 to 65535")]
    Port(String),
    /// A name is there twice.
    #[error("`{0}` is there twice; give the second a suffix, as in {0}-admin:8081")]
    Twice(String),
    /// `SPECIFIC_ADDR` is not host:port.
    #[error("SPECIFIC_ADDR `{0}` is not of the form host:port; better use SERVICE_PORTS=rest:PORT")]
    SpecificAddr(String),
}

impl ServicePorts {
    /// From the deprecated `SPECIFIC_ADDR=host:port`; the host is ignored, as in Mesher.
    ///
    /// # Errors
    /// If it is not `host:port`.
    pub fn from_specific_addr(value: &str) -> Result<Self, ServicePortsError> {
        let wrong = || ServicePortsError::SpecificAddr(value.trim().to_owned());
        let (_, port) = value.trim().split_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        Ok(Self(vec![ServicePort { protocol: "rest".into(), suffix: None, port }]))
    }

    /// The ports as the data plane wants them, in the order given.
    #[must_use]
    pub fn local(&self) -> Vec<LocalPort> {
        let local = |item: &ServicePort| LocalPort { port: item.port, protocol: item.protocol() };
        self.0.iter().map(local).collect()
    }
}

impl FromStr for ServicePorts {
    type Err = ServicePortsError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut ports: Vec<ServicePort> = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let port: ServicePort = item.parse()?;
            if ports.iter().any(|known| known.protocol == port.protocol && known.suffix == port.suffix) {
                return Err(ServicePortsError::Twice(port.name()));
            }
            ports.push(port);
        }
        Ok(Self(ports))
    }
}

impl FromStr for ServicePort {
    type Err = ServicePortsError;

    fn from_str(item: &str) -> Result<Self, Self::Err> {
        let (name, port) = item.split_once(':').ok_or_else(|| ServicePortsError::Form(item.to_owned()))?;
        let (name, port) = (name.trim(), port.trim());
        let (protocol, suffix) = match name.split_once('-') {
            Some((protocol, suffix)) => (protocol, Some(suffix.to_owned())),
            None => (name, None),
        };
        if suffix.as_deref() == Some("") {
            return Err(ServicePortsError::Form(item.to_owned()));
        }
        // Mesher's usage text says http, which never worked there; it can only mean rest.
        let protocol = if protocol == "http" { "rest" } else { protocol };
        if !matches!(protocol, "rest" | "grpc") {
            return Err(ServicePortsError::Protocol(protocol.to_owned()));
        }
        let number = port.parse().ok().filter(|number| *number != 0);
        let port = number.ok_or_else(|| ServicePortsError::Port(port.to_owned()))?;
        Ok(Self { protocol: protocol.to_owned(), suffix, port })
    }
}

impl ServicePort {
    fn protocol(&self) -> Protocol {
        if self.protocol == "grpc" { Protocol::Grpc } else { Protocol::Rest }
    }

    fn name(&self) -> String {
        match &self.suffix {
            Some(suffix) => format!("{}-{suffix}", self.protocol),
            None => self.protocol.clone(),
        }
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(list: &str) -> Result<Vec<String>, ServicePortsError> {
        list.parse::<ServicePorts>().map(|ports| ports.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_names_protocols_and_ports() {
        assert_eq!(parse("rest:8080,grpc:9000").unwrap(), ["rest:8080", "grpc:9000"]);
        assert_eq!(parse(" rest: 80 , rest-admin:81 ,").unwrap(), ["rest:80", "rest-admin:81"]);
        assert_eq!(parse("").unwrap(), [""; 0]);
    }

    #[test]
    fn each_port_says_what_is_spoken_there() {
        let local = "rest:8080,grpc:9000".parse::<ServicePorts>().unwrap().local();
        let local: Vec<_> = local.into_iter().map(|local| (local.port, local.protocol)).collect();
        assert_eq!(local, [(8080, Protocol::Rest), (9000, Protocol::Grpc)]);
    }

    #[test]
    fn http_means_rest() {
        assert_eq!(parse("http:3000").unwrap(), ["rest:3000"]);
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(parse("grpc"), Err(ServicePortsError::Form("grpc".into())));
        assert_eq!(parse("rest-:80"), Err(ServicePortsError::Form("rest-:80".into())));
        assert_eq!(parse("dubbo:80"), Err(ServicePortsError::Protocol("dubbo".into())));
        assert_eq!(parse("rest:0"), Err(ServicePortsError::Port("0".into())));
        assert_eq!(parse("rest:80,rest:81"), Err(ServicePortsError::Twice("rest".into())));
    }

    #[test]
    fn specific_addr_gives_its_port() {
        let ports = ServicePorts::from_specific_addr(" 10.0.0.1:8083 ").unwrap();
        assert_eq!(ports.local(), [LocalPort { port: 8083, protocol: Protocol::Rest }]);
        assert!(ServicePorts::from_specific_addr("8083").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(list: String) {
            if let Ok(ports) = list.parse::<ServicePorts>() {
                let printed = ports.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                prop_assert_eq!(printed.parse::<ServicePorts>().unwrap(), ports);
            }
        }
    }
}
