//! What each page says, and to what it says no.

use super::*;

#[test]
fn version_has_the_keys_of_mesher_indented_by_one_blank() {
    let answer = Fixture::new().get("/v1/mesher/version");
    let expected = "{\n \"version\": \"0.1.0\",\n \"commit\": \"abc\",\n \"built\": \"\",\n \"Go-Chassis\": \"\",\n \
                    \"driver\": \"uring\"\n}\n";
    assert_eq!((answer.status, &*answer.body), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn health_is_green_without_an_error_and_red_with_all_reasons() {
    let fixture = Fixture::new();
    let answer = fixture.get("/v1/mesher/health");
    let green = json!({
        "serviceName": "cart \"9\"", "version": "1.2.3", "status": "green", "connectedMonitoring": false,
    });
    assert_eq!((answer.status, answer.json()), (200, green));

    fixture.not_ready(&["draining", "registry unreachable"]);
    fixture.kill_shard(1);
    let answer = fixture.get("/v1/mesher/health");
    let red = json!({
        "serviceName": "cart \"9\"", "version": "1.2.3", "status": "red", "connectedMonitoring": false,
        "error": "draining; registry unreachable; shard 1 is dead",
    });
    assert_eq!((answer.status, answer.json()), (500, red));
}

#[test]
fn readiness_turns_to_503_with_reasons_and_back() {
    let fixture = Fixture::new();
    for path in ["/ready", "/readyz"] {
        fixture.not_ready(&["draining"]);
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (503, json!({ "ready": false, "reasons": ["draining"] })));
        fixture.not_ready(&[]);
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({ "ready": true, "reasons": [] })));
    }
}

#[test]
fn verbose_readiness_tells_each_shards_driver_and_why() {
    let fixture = Fixture::new();
    fixture.not_ready(&["starting"]);
    for path in ["/ready?verbose", "/readyz?x=1&verbose=true"] {
        let answer = fixture.get(path);
        let body = answer.json();
        assert_eq!(answer.status, 503);
        assert_eq!(body["reasons"], json!(["starting"]));
        assert_eq!(body["driver"], json!("uring"));
        assert_eq!(body["shards"][0], json!({ "shard": 0, "alive": true, "driver": "uring" }));
        assert!(body["shards"][1]["why"].as_str().unwrap().contains("seccomp"), "{body}");
        assert_eq!(body["details"]["registry"]["type"], json!("file"));
        let config = json!({ "generation": 2, "reloads": 3, "last_reload_ok": false, "error": "line 1" });
        assert_eq!(body["config"], config);
        let memory = json!({
            "limit_bytes": 100, "used_bytes": 95, "bound": "control_group", "pressure": "high", "shortages": 3
        });
        assert_eq!(body["memory"], memory);
    }
}

#[test]
fn liveness_depends_on_the_shards_alone() {
    let fixture = Fixture::new();
    fixture.not_ready(&["draining"]);
    for path in ["/live", "/livez", "/healthz"] {
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({ "live": true, "reasons": [] })));
    }
    fixture.kill_shard(0);
    for path in ["/live", "/livez", "/healthz"] {
        let answer = fixture.get(path);
        let dead = json!({ "live": false, "reasons": ["shard 0 is dead"] });
        assert_eq!((answer.status, answer.json()), (503, dead));
    }
}

#[test]
fn an_unknown_path_is_404_and_lists_the_known_ones() {
    let fixture = Fixture::new();
    for path in ["/", "/v1/mesher", "/metrics/", "/liv%65", "//live"] {
        let answer = fixture.get(path);
        assert_eq!(answer.status, 404, "{path}");
        let paths = answer.json()["paths"].as_array().unwrap().clone();
        assert!(paths.contains(&json!("/v1/mesher/health")));
        for path in paths {
            assert_eq!(fixture.get(path.as_str().unwrap()).status, 200, "{path} is listed and not served");
        }
    }
}

#[test]
fn other_methods_are_405_with_allow() {
    let fixture = Fixture::new();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = ask(fixture.admin.addr(), &request);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(answer.json()["error"].as_str().unwrap().contains("GET"));
    }
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let fixture = Fixture::new();
    fixture.not_ready(&["draining"]);
    let head = ask(fixture.admin.addr(), "HEAD /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let get = fixture.get("/ready");
    assert_eq!((head.status, &*head.body), (503, ""));
    assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
}

#[test]
fn a_request_with_a_body_is_refused_and_its_connection_closed() {
    let fixture = Fixture::new();
    for framing in ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let answer = ask(fixture.admin.addr(), &format!("POST /live HTTP/1.1\r\nhost: x\r\n{framing}"));
        assert_eq!(answer.status, 413, "{framing}");
    }
}
