//! A value of any format, read as a whole.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt::Display;

/// A value of any format.
#[derive(Clone)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Display for Node {
    /// Writes the value as TOML.
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Null => out.write_str("nothing"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Whole(value) => write!(out, "{value}"),
            Self::Real(value) => out.write_str(&format!("{value:?}").to_lowercase()),
            Self::Text(text) => write!(out, "{text:?}"),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Node::to_string).collect();
                write!(out, "[{}]", values.join(", "))
            }
            Self::Table(_) => out.write_str("a table of keys"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Any;

        macro_rules! values {
            ($($method:ident($($value:ident: $type:ty)?) => $node:expr,)+) => {
                $(
                    fn $method<E>(self, $($value: $type)?) -> std::result::Result<Node, E> {
                        Ok($node)
                    }
                )+
            };
        }

        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                out.write_str("a value")
            }
            values! {
                visit_bool(value: bool) => Node::Bool(value),
                visit_i64(value: i64) => Node::Whole(value.into()),
                visit_u64(value: u64) => Node::Whole(value.into()),
                visit_f64(value: f64) => Node::Real(value),
                visit_str(text: &str) => Node::Text(text.into()),
                visit_unit() => Node::Null,
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut from: A,
            ) -> std::result::Result<Node, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = from.next_element()? {
                    values.push(value);
                }
                Ok(Node::List(values))
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut from: A,
            ) -> std::result::Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = from.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Table(entries))
            }
        }

        from.deserialize_any(Any)
    }
}
