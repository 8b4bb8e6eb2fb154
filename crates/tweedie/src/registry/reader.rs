//! Deserialisation from any format, with errors that name the key, its value and the expectation.
//!
//! Serde's own errors have neither the path of a key nor its value. This deserializer keeps both: it walks a tree that
//! was read as a whole, and adds to an error each key on its path.

use super::CHOICE;
use super::node::Node;
use super::read_error::{ReadError, ReadResult};
use crate::{Error, Result};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess,
    IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Reads a value of the type `T`, from a table of TOML or an object of JSON; `at` is the key of the value, empty for a
/// whole file.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Training {
///     steps: u64,
/// }
/// let table = |text: &str| text.parse::<toml::Table>().map(toml::Value::Table).expect("TOML");
/// let read = |text| tweedie::registry::read::<Training>(table(text), "training");
/// assert_eq!(read("steps = 5")?.steps, 5);
/// let error = |text| read(text).err().map(|error| error.to_string());
/// assert_eq!(error("steps = 'many'").unwrap(), "training.steps: \"many\"; expected a whole number, 0 or more");
/// assert_eq!(error("step = 5").unwrap(), "training.step: unknown key; expected `steps` perhaps; one of steps");
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] naming the key that is unknown (with the nearest known one) or missing, or whose value is invalid.
pub fn read<'de, T: DeserializeOwned>(value: impl Deserializer<'de>, at: &str) -> Result<T> {
    let node = Node::deserialize(value).map_err(|e| Error::config(at, e.to_string(), "a value"))?;
    T::deserialize(Reader(&node)).map_err(|error| {
        let ReadError { key, problem, expected, .. } = error.under(at);
        Error::config(key, problem.unwrap_or_default(), expected)
    })
}

/// Reads a value from another deserializer.
pub(super) fn read_foreign<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<ReadResult<T>, D::Error> {
    let node = Node::deserialize(from)?;
    Ok(T::deserialize(Reader(&node)))
}

/// The table that the word `name`, or `name, key = value, …`, is short for.
pub(crate) fn spelled_out(text: &str) -> Option<toml::Table> {
    let (name, options) = text.split_once(',').unwrap_or((text, ""));
    let mut table = match format!("{{ {options} }}").parse() {
        Ok(toml::Value::Table(table)) if !table.contains_key("name") => table,
        _ => return None,
    };
    table.insert("name".into(), name.trim().into());
    Some(table)
}

/// A deserializer of one value.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node);

impl Reader<'_> {
    fn wrong<T>(self, expected: impl Into<String>) -> ReadResult<T> {
        Err(ReadError::new("", Some(self.0.to_string()), expected))
    }

    /// Reads a choice: its name, and as its options the rest of its table or word.
    fn choice<'de, V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        let table = match self.0 {
            Node::Text(text) => {
                let Some(table) = spelled_out(text) else {
                    let expected = "a name, or a name and its options, such as ddim, eta = 0.5";
                    return Err(ReadError::new("", Some(text.clone()), expected));
                };
                let table = Node::deserialize(toml::Value::Table(table));
                table.map_err(|error| ReadError::new("", None, error.to_string()))?
            }
            table => table.clone(),
        };
        let Node::Table(mut options) = table else {
            return self.wrong("a name, or a table with one");
        };
        let Some(at) = options.iter().position(|(key, _)| key == "name") else {
            return Err(de::Error::missing_field("name"));
        };
        let Node::Text(name) = options.remove(at).1 else {
            return Err(ReadError::new("name", None, "a name"));
        };
        let content = Node::Table(options);
        let chosen = Variant { name: &name, content: Some(&content), key: "" };
        visitor.visit_enum(chosen).map_err(|error| match self.0 {
            Node::Table(_) if error.unknown_name && error.key.is_empty() => error.under("name"),
            _ => error,
        })
    }
}

/// Defines methods that read one kind of value, from the arguments to ignore, the kind, and its name in errors.
macro_rules! kinds {
    ($($method:ident($($ignored:ty),*) $kind:pat => $words:literal,)+) => {
        $(
            fn $method<V: Visitor<'de>>(self, $(_: $ignored,)* visitor: V) -> ReadResult<V::Value> {
                match self.0 {
                    $kind => self.deserialize_any(visitor),
                    _ => self.wrong($words),
                }
            }
        )+
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        let found = match self.0 {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Whole(value @ 0..) => visitor.visit_u64(*value as u64),
            Node::Whole(value) => visitor.visit_i64(*value as i64),
            Node::Real(value) => visitor.visit_f64(*value),
            Node::Text(text) => visitor.visit_str(text),
            Node::List(values) => visitor.visit_seq(Values(values.iter().enumerate())),
            Node::Table(entries) => visitor.visit_map(Entries(entries, None)),
        };
        found.map_err(|error| error.of(self.0))
    }

    kinds! {
        deserialize_bool() Node::Bool(_) => "true or false",
        deserialize_u8() Node::Whole(0..) => "a whole number, 0 or more",
        deserialize_u16() Node::Whole(0..) => "a whole number, 0 or more",
        deserialize_u32() Node::Whole(0..) => "a whole number, 0 or more",
        deserialize_u64() Node::Whole(0..) => "a whole number, 0 or more",
        deserialize_i8() Node::Whole(_) => "a whole number",
        deserialize_i16() Node::Whole(_) => "a whole number",
        deserialize_i32() Node::Whole(_) => "a whole number",
        deserialize_i64() Node::Whole(_) => "a whole number",
        deserialize_f32() Node::Whole(_) | Node::Real(_) => "a number",
        deserialize_f64() Node::Whole(_) | Node::Real(_) => "a number",
        deserialize_seq() Node::List(_) => "an array",
        deserialize_map() Node::Table(_) => "a table of keys",
        deserialize_struct(&'static str, &'static [&'static str]) Node::Table(_) => "a table of keys",
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        match self.0 {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Reads a type without options: nothing, or a table without keys.
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> ReadResult<V::Value> {
        match self.0 {
            Node::Null => visitor.visit_unit(),
            Node::Table(entries) => match entries.first() {
                Some((key, _)) => Err(de::Error::unknown_field(key, &[])),
                None => visitor.visit_unit(),
            },
            _ => self.wrong("a table of keys"),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> ReadResult<V::Value> {
        match name {
            CHOICE => self.choice(visitor).map_err(|error| error.of(self.0)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> ReadResult<V::Value> {
        match self.0 {
            Node::List(values) if values.len() == length => self.deserialize_any(visitor),
            _ => self.wrong(format!("an array of length {length}")),
        }
    }

    /// Reads an enum: a word, or a table whose only key is one.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        let variant = match self.0 {
            Node::Text(name) => Variant { name, content: None, key: name },
            Node::Table(entries) if entries.len() == 1 => {
                Variant { name: &entries[0].0, content: Some(&entries[0].1), key: &entries[0].0 }
            }
            _ => return self.wrong(format!("one of {}", names.join(", "))),
        };
        visitor.visit_enum(variant).map_err(|error| error.of(self.0))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit tuple_struct identifier
    }
}

/// The values of a list.
struct Values<'a>(std::iter::Enumerate<std::slice::Iter<'a, Node>>);

impl<'de> SeqAccess<'de> for Values<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> ReadResult<Option<T::Value>> {
        let Some((i, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node)).map(Some).map_err(|error| error.under(&format!("[{i}]")))
    }
}

/// The remaining keys of a table, and the key whose value is next.
struct Entries<'a>(&'a [(String, Node)], Option<&'a (String, Node)>);

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> ReadResult<Option<K::Value>> {
        let Some((entry, rest)) = self.0.split_first() else { return Ok(None) };
        (self.0, self.1) = (rest, Some(entry));
        let key: StrDeserializer<ReadError> = entry.0.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<T::Value> {
        let (key, node) = self.1.take().ok_or_else(|| ReadError::new("", None, "a key"))?;
        seed.deserialize(Reader(node)).map_err(|error| error.under(key))
    }
}

/// A name and its content, if any; `key` is the key of the content.
struct Variant<'a> {
    name: &'a str,
    content: Option<&'a Node>,
    key: &'a str,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<(T::Value, Self)> {
        let name: StrDeserializer<ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> ReadResult<()> {
        match self.content {
            None => Ok(()),
            Some(node) => Err(ReadError::new(self.key, Some(node.to_string()), "the name alone")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<T::Value> {
        let content = self.content.unwrap_or(&Node::Null);
        seed.deserialize(Reader(content)).map_err(|error| error.under(self.key))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> ReadResult<V::Value> {
        let content = Reader(self.content.unwrap_or(&Node::Null));
        content.deserialize_tuple(length, visitor).map_err(|error| error.under(self.key))
    }

    /// Reads a variant with fields; for a name alone all of them have their defaults.
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        let none = Node::Table(Vec::new());
        let content = Reader(self.content.unwrap_or(&none));
        content.deserialize_map(visitor).map_err(|error| error.under(self.key))
    }
}
