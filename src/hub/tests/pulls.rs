//! From the request to the end, and what is not accepted.

use super::*;

#[test]
fn one_pull() {
    let mut hub = Hub::new(config());
    assert_eq!(hub.admit(order(1, "a"), at(0)).unwrap_err(), Denied::NotConnected);
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    assert_eq!(requested(&hub.order(1, "a", at(1))), [id(1)]);
    assert_eq!(hub.expected(&client("a"), generation, id(1)), Expected::Attempt(1));
    assert_eq!(hub.expected(&client("a"), generation, id(2)), Expected::Never);
    assert_eq!(hub.expected(&client("b"), generation, id(1)), Expected::Never, "another client's");
    assert_eq!(hub.begin(id(1), 1, "pos.db".into(), 7), Begun::Wanted);
    hub.covered(id(1), 1, 7, 7);
    assert_eq!(hub.verify(id(1), 1, HASH), Begun::Wanted);
    let last = hub.publish(id(1), 1, at(2)).unwrap();
    assert!(matches!(hub.cancel(id(1), at(2)), Err(Uncancellable::TooLate(_))));
    assert_eq!(hub.complete(id(1), at(3)), [Action::Save(id(1)), Action::Tell(id(1))]);
    let done = hub.transfer(id(1)).unwrap();
    assert_eq!((done.status, done.bytes, done.sha256), (Status::Completed, 7, Some(HASH)));
    assert_eq!(hub.record(id(1)), Some(last), "as it was told before");
    assert_eq!(hub.expected(&client("a"), generation, id(1)), Expected::Late);
    hub.check();
}

#[test]
fn nothing_is_asked_before_the_client_has_registered_or_had_the_time_to() {
    let mut hub = Hub::new(config());
    hub.connect(&client("a"), String::new(), at(0)).unwrap();
    assert_eq!(requested(&hub.order(1, "a", at(0))), []);
    assert_eq!(hub.next_due(), Some(2000));
    assert_eq!(requested(&hub.tick(at(2))), [id(1)]);
}

#[test]
fn each_line_has_its_own_time_to_register() {
    let mut hub = Hub::new(config());
    let first = hub.connect(&client("a"), String::new(), at(0)).unwrap();
    hub.disconnect(&client("a"), first, 0, at(1));
    hub.connect(&client("a"), String::new(), at(1)).unwrap();
    hub.tick(at(2));
    assert_eq!(hub.line_of(&client("a")).unwrap().1, None, "not taken for v1 yet");
    assert_eq!(hub.next_due(), Some(3000));
}

#[test]
fn a_name_is_given_once() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    let again = Order { request_id: id(2), ..order(1, "a") };
    assert_eq!(hub.admit(again.clone(), at(0)).unwrap_err(), Denied::NameTaken);
    hub.cancel(id(1), at(1)).unwrap();
    assert!(hub.admit(again, at(1)).is_ok());
}

#[test]
fn what_a_client_can_not_do() {
    let mut hub = Hub::new(config());
    hub.join("old", Dialect::V1, at(0));
    hub.join("new", Dialect::V2, at(0));
    let paced = Order { max_rate: Some(5), ..order(1, "old") };
    assert!(matches!(hub.admit(paced, at(0)), Err(Denied::Impossible(_))));
    let path = Some("/etc/passwd".parse().unwrap());
    assert!(matches!(
        hub.admit(Order { file_key: path.clone(), ..order(1, "new") }, at(0)),
        Err(Denied::Impossible(_))
    ));
    assert!(hub.admit(Order { file_key: path, ..order(1, "old") }, at(0)).is_ok(), "v1 takes it for a path");
}
