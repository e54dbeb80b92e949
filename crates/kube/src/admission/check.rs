//! Collecting rejections of one object.

use std::net::IpAddr;

use k8s_openapi::Resource;

use super::names::{self, Form};
use super::{Refused, Rejection};
use crate::manifest::{Object, ObjectRef, Origin};
use crate::source::FieldPath;

/// Collects what is wrong with one object.
pub struct Checker<'a> {
    object: ObjectRef,
    origin: &'a Origin,
    out: &'a mut Vec<Rejection>,
    refused: Refused,
    /// Rejections that were there before those of this object.
    before: usize,
}

impl<'a> Checker<'a> {
    pub fn new<T: Resource>(object: &'a Object<T>, out: &'a mut Vec<Rejection>) -> Checker<'a> {
        let before = out.len();
        Checker { object: object.reference(), origin: &object.origin, out, refused: Refused::Object, before }
    }

    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// From here on, what is wrong concerns the pods made from the object.
    pub fn refuse_pods(&mut self) {
        self.refused = Refused::Pods;
    }

    /// Whether nothing is wrong with the object so far.
    pub fn is_sound(&self) -> bool {
        self.out.len() == self.before
    }

    pub fn reject(
        &mut self,
        field: &FieldPath,
        what: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.out.push(Rejection {
            object: self.object.clone(),
            refused: self.refused,
            field: field.to_string(),
            location: self.origin.locate(field),
            what: what.into(),
            expected: expected.into(),
            fix: fix.into(),
        });
    }

    /// The name must have `form`.
    pub fn name(&mut self, field: &FieldPath, name: &str, form: Form) {
        if !names::has_form(name, form) {
            let what =
                if name.is_empty() { "is empty".to_owned() } else { format!("`{name}` is not a valid name") };
            self.reject(field, what, form.in_words(), "change the name");
        }
    }

    /// The value, if there is one, must be one of `allowed`.
    pub fn one_of(&mut self, field: &FieldPath, value: Option<&str>, allowed: &[&str]) {
        let Some(value) = value.filter(|value| !value.is_empty() && !allowed.contains(value)) else { return };
        let expected = format!("one of {}", allowed.join(", "));
        let fix = match crate::source::nearest(value, allowed.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => "choose one of them; capitals matter".to_owned(),
        };
        self.reject(field, format!("`{value}` is not supported"), expected, fix);
    }

    /// The number must be that of a TCP or UDP port. True if it is.
    pub fn port_number(&mut self, field: &FieldPath, number: i32) -> bool {
        let is_port = (1..=65535).contains(&number);
        if !is_port {
            let what = format!("{number} is no port number");
            self.reject(field, what, "a number from 1 to 65535", "change the port");
        }
        is_port
    }

    /// The number, if there is one, must be at least `least`.
    pub fn at_least(&mut self, field: &FieldPath, number: Option<i64>, least: i64) {
        if let Some(number) = number.filter(|number| *number < least) {
            let expected = format!("a number of at least {least}");
            self.reject(field, format!("{number} is too small"), expected, "change the number");
        }
    }

    /// The text must be an IP address.
    pub fn address(&mut self, field: &FieldPath, text: &str) -> Option<IpAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let what = format!("`{text}` is no IP address");
            self.reject(
                field,
                what,
                "an IPv4 or IPv6 address",
                "write an address such as 192.0.2.1 or 2001:db8::1",
            );
        }
        address
    }

    /// The text must be a network in CIDR notation.
    pub fn network(&mut self, field: &FieldPath, text: &str) {
        if text.trim().parse::<ipnet::IpNet>().is_err() {
            let what = format!("`{text}` is no network");
            self.reject(field, what, "a network in CIDR notation", "write a network such as 192.0.2.0/24");
        }
    }
}
