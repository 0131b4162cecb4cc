use super::*;

#[test]
fn connections_break_where_they_are_told_to() {
    let stub = Stub::start();
    for behaviour in [
        Behaviour::CloseBeforeReading,
        Behaviour::CloseAfterReading,
        Behaviour::Truncated,
    ] {
        stub.script(behaviour.clone());
        assert!(Client::new(&stub).ollama(&["a"]).is_err(), "{behaviour:?}");
    }
    let requests = stub.requests();
    assert_eq!(
        requests
            .iter()
            .map(|request| request.inputs.len())
            .collect::<Vec<_>>(),
        [0, 1, 1]
    );
    let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [None, None, Some(200)]);
    assert!(requests.iter().all(|request| request.answered.is_none()));
    assert_eq!(Client::new(&stub).ollama(&["a"]).unwrap().status, 200);
}

#[test]
fn held_requests_wait_for_the_test() {
    let stub = Stub::start();
    let hold = stub.hold();
    let (first, mut second) = (Client::new(&stub), Client::new(&stub));
    let body = json!({"model": "m", "input": ["a"]}).to_string();
    first.send("/api/embed", "", &body);
    stub.wait_for_waiting(1, PATIENCE);
    second.send("/api/embed", "", &body);
    stub.wait_for_waiting(2, PATIENCE);
    assert_eq!(stub.requests().len(), 2);
    assert!(stub.take_requests().is_empty());

    // A client that dies in the middle is no longer held.
    drop(first);
    assert!(stub.shared.wait_until(PATIENCE, |state| state.waiting == 1));
    hold.let_through(1);
    assert_eq!(second.receive().unwrap().status, 200);
    second.send("/api/embed", "", &body);
    stub.wait_for_waiting(1, PATIENCE);
    hold.release();
    assert_eq!(second.receive().unwrap().status, 200);
    assert_eq!(stub.waiting(), 0);

    let _hold = stub.hold_where(|request| request.inputs == ["held"]);
    assert_eq!(second.ollama(&["free"]).unwrap().status, 200);
    second.send("/api/embed", "", &body.replace("\"a\"", "\"held\""));
    stub.wait_for_waiting(1, PATIENCE);
}

#[test]
fn many_connections_are_served_at_once() {
    let stub = Stub::start_with(4);
    stub.behave(|_| Behaviour::delay(Duration::from_millis(200)));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| assert_eq!(Client::new(&stub).ollama(&["a"]).unwrap().status, 200));
        }
    });
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(stub.requests().len(), 32);
}

#[test]
fn a_stub_goes_down_and_comes_up_at_the_same_address() {
    let stub = Stub::start();
    let mut client = Client::new(&stub);
    assert_eq!(client.ollama(&["a"]).unwrap().status, 200);
    stub.go_down();
    assert!(client.receive().is_err());
    assert!(TcpStream::connect(stub.shared.address).is_err());
    stub.come_up();
    assert_eq!(Client::new(&stub).ollama(&["a"]).unwrap().status, 200);
    let address = stub.shared.address;
    drop(stub);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_body_may_come_in_chunks_and_after_a_question() {
    let stub = Stub::start();
    let client = Client::new(&stub);
    let mut stream = client.stream;
    let head = "POST /api/embed HTTP/1.1\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    stream.get_ref().write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.read_line(&mut line).unwrap();
    let chunks = "e\r\n{\"model\":\"m\", \r\nD\r\n\"input\":\"abc\"\r\n1\r\n}\r\n0\r\n\r\n";
    stream.get_ref().write_all(chunks.as_bytes()).unwrap();
    assert_eq!(Client { stream }.receive().unwrap().status, 200);
    assert_eq!(stub.inputs(), ["abc"]);
}

/// The stub must not be what a measurement of the workers measures.
#[test]
fn two_thousand_texts_are_answered_in_no_time() {
    let stub = Stub::start();
    let texts: Vec<String> = (0..2_000).map(|at| format!("text {at}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for format in ["base64", "float"] {
        let began = Instant::now();
        assert_eq!(
            Client::new(&stub).openai(&texts, format).unwrap().status,
            200
        );
        let took = began.elapsed();
        eprintln!("2,000 texts as {format}: {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
