//! Who is served, in which order, and what is listed.

use super::*;

#[test]
fn clients_take_turns_and_within_one_first_come_first_served() {
    let mut hub = Hub::new(Config { max_concurrent: 1, ..config() });
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    for (number, name) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")] {
        hub.order(number, name, at(0));
    }
    let mut served = vec![1];
    while let Some(last) = served.last().copied() {
        hub.begin(id(last), 1, String::new(), 0);
        hub.verify(id(last), 1, HASH);
        match requested(&hub.complete(id(last), at(1))).first() {
            Some(next) => served.push((1..=5).find(|number| id(*number) == *next).unwrap()),
            None => break,
        }
        hub.check();
    }
    assert_eq!(served, [1, 4, 2, 5, 3]);
}

#[test]
fn the_queue_has_a_bound() {
    let mut hub = Hub::new(Config { max_concurrent: 1, max_queued: 1, ..config() });
    hub.join("a", Dialect::V1, at(0));
    hub.order(1, "a", at(0));
    hub.order(2, "a", at(0));
    assert_eq!(hub.admit(order(3, "a"), at(0)).unwrap_err(), Denied::TooMany);
    let mut hub = Hub::new(Config { max_concurrent: 1, max_queued: 0, ..config() });
    hub.join("a", Dialect::V1, at(0));
    assert_eq!(requested(&hub.order(1, "a", at(0))), [id(1)], "it need not wait");
    assert_eq!(hub.admit(order(2, "a"), at(0)).unwrap_err(), Denied::TooMany);
    hub.retract(id(1));
}

#[test]
fn waiting_for_an_offline_client() {
    let mut hub = Hub::new(config());
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    hub.disconnect(&client("a"), generation, 0, at(0));
    let patient = |number| Order { queue_for_ms: Some(5000), ..order(number, "a") };
    hub.admit(patient(1), at(0)).unwrap();
    assert_eq!(hub.release(id(1), at(0)), []);
    hub.admit(patient(2), at(3)).unwrap();
    hub.release(id(2), at(3));
    hub.tick(at(5));
    assert_eq!((hub.status(1), hub.status(2)), (Status::Expired, Status::Queued));
    let (_, actions) = hub.join("a", Dialect::V2, at(6));
    assert_eq!(requested(&actions), [id(2)]);
    hub.check();
}

#[test]
fn lists() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    for (number, name) in [(1, "a"), (2, "b"), (3, "a")] {
        hub.order(number, name, at(number));
    }
    let ids = |filter: Filter| -> Vec<RequestId> {
        hub.list(&filter, |_| true, 2).iter().map(|t| t.request_id).collect()
    };
    assert_eq!(ids(Filter::default()), [id(3), id(2)]);
    assert_eq!(ids(Filter { client_id: Some(client("a")), ..Filter::default() }), [id(3), id(1)]);
    assert_eq!(ids(Filter { before: Some(Cursor::Transfer(id(2))), ..Filter::default() }), [id(1)]);
    assert_eq!(ids(Filter { before: Some(Cursor::Time(at(3).wall)), ..Filter::default() }), [id(2), id(1)]);
    assert_eq!(ids(Filter { status: Some(Status::Failed), ..Filter::default() }), []);
}
