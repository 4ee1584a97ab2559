//! Listeners and ports of gRPC, and what mesher says itself to its calls.

use super::*;

#[test]
fn a_call_goes_to_the_local_port_for_grpc_and_a_request_to_the_one_for_rest() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let left = stream.field("grpc-timeout");
                stream.begin(&[("grpc-status", "5"), ("x-left", &left)], true);
            })
        });
        let origin = Origin::answering("rest");
        let port = free_port();
        let conf = Conf::sidecar("provider").driver(driver);
        let listen = SocketAddr::new(conf.incoming.ip(), port);
        let conf = conf.set("chassis.yaml", "servicecomb.protocols.grpc.listenAddress", listen.to_string());
        let ports =
            format!("--service-ports=rest:{},grpc:{}", origin.address().port(), service.address.port());
        let mesher = Start::new(conf).arg(ports).ready();
        local(async {
            for address in [mesher.conf().incoming, listen] {
                let mut client = Client::connect(address).await;
                let answer = client.ask(call("http://provider/s/m", &[("grpc-timeout", "10S")]), None).await;
                assert_eq!(answer.field("grpc-status"), "5", "{address}");
                let left =
                    answer.field("x-left").trim_end_matches(char::is_alphabetic).parse::<u64>().unwrap();
                assert!(left > 0 && answer.field("x-left") != "10S", "{}", answer.field("x-left"));
            }
            let mut client = Client::connect(mesher.conf().incoming).await;
            assert_eq!(client.ask(get("http://provider/"), None).await.text(), "rest");
        });
        wait_until("both calls to be counted", PATIENCE, || {
            mesher.metric_of("mesher_grpc_calls_total", "grpc_status=\"5\"") == 2
        });
    });
}

#[test]
fn what_mesher_says_itself_to_a_call_is_a_status() {
    on_both_drivers(|driver| {
        let silent = Service::start(|stream| {
            Box::pin(async move {
                let _stream = stream;
                std::future::pending().await
            })
        });
        let origin = Origin::answering("rest");
        let services = [("silent", grpc(silent.address)), ("plain", format!("rest://{}", origin.address()))];
        let mesher = calling(driver, &services);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let timeout = [("grpc-timeout", "200m")];
            for (name, fields, status, flag) in
                [("silent", &timeout[..], "4", "UT"), ("plain", &[], "14", "UH"), ("nobody", &[], "14", "NC")]
            {
                let answer = client.ask(call(&format!("http://{name}/s/m"), fields), None).await;
                assert_eq!(answer.head.status, 200, "{name}");
                assert_eq!(
                    (answer.field("grpc-status"), answer.field("content-type")),
                    (status, "application/grpc"),
                    "{name}"
                );
                assert!(
                    answer.field("x-mesher-error").starts_with(flag),
                    "{name}: {}",
                    answer.field("x-mesher-error")
                );
                assert!(!answer.field("grpc-message").is_empty(), "{name}");
            }
        });
        assert_eq!(origin.requests(), 0, "a call is never sent as HTTP/1");
    });
}

#[test]
fn a_port_for_grpc_that_is_taken_is_named_with_its_key() {
    let conf = Conf::sidecar("caller");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let conf = conf.set("chassis.yaml", "servicecomb.protocols.grpc.listenAddress", address);
    let config = conf.mesher_yaml();
    let (code, output) = run(&["--config", config.to_str().unwrap()], conf.path());
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("servicecomb.protocols.grpc.listenAddress"), "{output}");
}

// --- shards
