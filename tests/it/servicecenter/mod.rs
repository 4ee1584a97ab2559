//! Sidecars and service-center.

mod finding; // which instances are called, and how soon a change is seen
mod outages; // service-center away, in trouble, or without its data: what is known goes on
mod registering; // our own instance: made known, kept known, made known again
