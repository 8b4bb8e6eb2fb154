//! Registries: every choice that has a name in recipes is a type in a file of its own and one line of a registry.
//!
//! A choice is written as a bare word, `ddim`, as a word with options, `ddim, eta = 0.5`, or as a table,
//! `{ name = "ddim", eta = 0.5 }`, and stored as the table. Its options are the fields of its own type, read by
//! [`read()`], whose errors name the key.

mod node;
mod overrides;
mod read_error;
mod reader;

pub use overrides::{override_all, read_over};
pub use reader::read;
pub(crate) use reader::spelled_out;

use crate::Result;
use serde::de::{DeserializeOwned, Deserializer, EnumAccess, Error as _, VariantAccess, Visitor};
use std::marker::PhantomData;

/// Whether a value is its type's default, for keys that are not written then.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a choice as a user writes it by itself, without checks: `ddim`, `ddim, eta = 0.5` or `{ name = "ddim", eta =
/// 0.5 }`.
///
/// ```
/// use tweedie::solve::{AnySolver, Ddim};
/// let solver: AnySolver = tweedie::registry::named_option("solver", "ddim, eta = 0.5")?;
/// assert_eq!(solver, AnySolver::Ddim(Ddim { eta: 0.5 }));
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) naming `key`, or the key inside it.
pub fn named_option<T: DeserializeOwned>(key: &str, text: &str) -> Result<T> {
    let text = text.trim();
    read(text.parse().unwrap_or_else(|_| toml::Value::String(text.into())), key)
}

/// The name that marks a choice for a deserializer.
const CHOICE: &str = "$tweedie::choice";

/// The interface of enums by [`registry!`], for [`choose`].
pub(crate) trait Registry: DeserializeOwned {
    /// The choice with the name `name` and the options of `access`.
    fn choice<'de, V: VariantAccess<'de>>(
        name: &str,
        options: V,
    ) -> std::result::Result<Self, V::Error>;
}

/// Reads a choice from any format: by name if the deserializer is [`reader`]'s, which keeps the path of keys, and
/// through it otherwise.
pub(crate) fn choose<'de, R: Registry, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<R, D::Error> {
    struct Choice<R>(PhantomData<R>);

    impl<'de, R: Registry> Visitor<'de> for Choice<R> {
        type Value = R;

        fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
            out.write_str("a name, or a table with one")
        }

        fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> std::result::Result<R, A::Error> {
            let (name, options) = access.variant::<String>()?;
            R::choice(&name, options)
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            from: D,
        ) -> std::result::Result<R, D::Error> {
            reader::read_foreign(from)?.map_err(D::Error::custom)
        }
    }

    from.deserialize_newtype_struct(CHOICE, Choice(PhantomData))
}

/// Defines an enum of named choices, one line for each: its name, its variant, and its description.
///
/// * `enum Any: Trait = Default, "key" { "name" Variant(Type) "about", … }`: each choice is a type of its own with the
///   trait, to which the enum dereferences; errors of `Any::parse` name `key`.
/// * `enum Any = Default { "name" Variant { field: Type } "about", … }`: each choice has fields of its own, or none.
/// * `word Any = Default { "name" Variant "about", … }`: each choice is a word without options, and stored as such.
macro_rules! registry {
    (
        $(#[$meta:meta])*
        $vis:vis enum $any:ident: $trait:ident = $default:ident, $key:literal {
            $($name:literal $variant:ident($type:ty) $about:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(tag = "name")]
        $vis enum $any {
            $(
                #[doc = concat!("`", $name, "`: ", $about, ".")]
                #[serde(rename = $name)]
                $variant($type),
            )+
        }

        crate::registry::registry!(@names $any $($name $about,)+);

        impl $any {
            /// Reads a choice from a word, with options or with its default options: `ddim`, or `ddim, eta = 0.5`.
            ///
            /// # Errors
            /// [`Error::Config`](crate::Error::Config) for an unknown name, with the nearest known one, or an unknown
            /// option.
            pub fn parse(text: &str) -> crate::Result<Self> {
                crate::registry::named_option($key, text)
            }

            /// The name in recipes.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }
        }

        impl Default for $any {
            fn default() -> Self {
                Self::$default(Default::default())
            }
        }

        impl std::ops::Deref for $any {
            type Target = dyn $trait;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$variant(own) => own,)+
                }
            }
        }

        $(
            impl From<$type> for $any {
                fn from(own: $type) -> Self {
                    Self::$variant(own)
                }
            }
        )+

        crate::registry::registry!(@read $any $($name options => options.newtype_variant().map(Self::$variant),)+);
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $any:ident = $default:ident {
            $(
                $(#[$of_variant:meta])*
                $name:literal $variant:ident $({ $($(#[$of_field:meta])* $field:ident: $type:ty,)+ })?
                    $about:literal,
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(tag = "name")]
        $vis enum $any {
            $(
                #[doc = concat!("`", $name, "`: ", $about, ".")]
                $(#[$of_variant])*
                #[serde(rename = $name)]
                $variant $({ $($(#[$of_field])* $field: $type,)+ })?,
            )+
        }

        crate::registry::registry!(@names $any $($name $about,)+);

        crate::registry::registry!(@read $any $($name options => {
            #[derive(serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Own { $($($field: $type,)+)? }
            let Own { $($($field,)+)? } = options.newtype_variant()?;
            Ok(Self::$variant $({ $($field,)+ })?)
        },)+);

        impl Default for $any {
            fn default() -> Self {
                Self::$default
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis word $any:ident = $default:ident {
            $($(#[$of_variant:meta])* $name:literal $variant:ident $about:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        $vis enum $any {
            $(
                #[doc = concat!("`", $name, "`: ", $about, ".")]
                $(#[$of_variant])*
                #[serde(rename = $name)]
                $variant,
            )+
        }

        crate::registry::registry!(@names $any $($name $about,)+);

        impl Default for $any {
            fn default() -> Self {
                Self::$default
            }
        }
    };
    (@names $any:ident $($name:literal $about:literal,)+) => {
        impl $any {
            /// Every name, with a description in one line.
            pub const NAMES: &'static [(&'static str, &'static str)] = &[$(($name, $about)),+];
        }
    };
    (@read $any:ident $($name:literal $options:ident => $read:expr,)+) => {
        impl<'de> serde::Deserialize<'de> for $any {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                crate::registry::choose(from)
            }
        }

        impl crate::registry::Registry for $any {
            fn choice<'de, V: serde::de::VariantAccess<'de>>(
                name: &str,
                options: V,
            ) -> std::result::Result<Self, V::Error> {
                match name {
                    $($name => { let $options = options; $read })+
                    _ => Err(serde::de::Error::unknown_variant(name, &[$($name),+])),
                }
            }
        }
    };
}
pub(crate) use registry;

/// Defines two enums with one line for each choice: configurations, by [`registry!`], and the modules that they make.
/// The listed methods of the trait are passed on to the chosen module.
///
/// `configurations AnyConfig: ConfigTrait = Default, "key"; modules Any: Trait { "name" Variant(Config => Module)
/// "about", … } fn method(&self, value: Type) -> Type; …`. A method that takes `self` returns `Result<Self>`, or
/// `Result<(Self, Type)>`.
macro_rules! modules {
    (
        $(#[$meta:meta])*
        configurations $configuration:ident: $of_configuration:ident = $default:ident, $key:literal;
        $(#[$of_module:meta])*
        modules $any:ident: $trait:ident {
            $($name:literal $variant:ident($config:ty => $module:ty) $about:literal,)+
        }
        $($methods:tt)+
    ) => {
        crate::registry::registry! {
            $(#[$meta])*
            pub enum $configuration: $of_configuration = $default, $key {
                $($name $variant($config) $about,)+
            }
        }

        $(#[$of_module])*
        #[derive(burn::module::Module, Debug)]
        pub enum $any {
            $(
                #[doc = concat!("`", $name, "`: ", $about, ".")]
                $variant($module),
            )+
        }

        $(
            impl From<$module> for $any {
                fn from(own: $module) -> Self {
                    Self::$variant(own)
                }
            }
        )+

        impl $trait for $any {
            crate::registry::modules!(@methods [$($variant)+] $($methods)+);
        }
    };
    (@methods $variants:tt) => {};
    (@methods $variants:tt fn $name:ident(self, $($value:ident: $type:ty),*) -> Result<Self>; $($rest:tt)*) => {
        fn $name(self, $($value: $type),*) -> Result<Self> {
            crate::registry::modules!(@choice self $variants own => Ok(own.$name($($value),*)?.into()))
        }
        crate::registry::modules!(@methods $variants $($rest)*);
    };
    (
        @methods $variants:tt
        fn $name:ident(self, $($value:ident: $type:ty),*) -> Result<(Self, $other:ty)>; $($rest:tt)*
    ) => {
        fn $name(self, $($value: $type),*) -> Result<(Self, $other)> {
            crate::registry::modules!(@choice self $variants own => {
                let (own, other) = own.$name($($value),*)?;
                Ok((own.into(), other))
            })
        }
        crate::registry::modules!(@methods $variants $($rest)*);
    };
    (@methods $variants:tt fn $name:ident(&self $(, $value:ident: $type:ty)*) -> $out:ty; $($rest:tt)*) => {
        fn $name(&self $(, $value: $type)*) -> $out {
            crate::registry::modules!(@choice self $variants own => own.$name($($value),*))
        }
        crate::registry::modules!(@methods $variants $($rest)*);
    };
    (@choice $self:ident [$($variant:ident)+] $own:ident => $result:expr) => {
        match $self {
            $(Self::$variant($own) => $result,)+
        }
    };
}
pub(crate) use modules;
