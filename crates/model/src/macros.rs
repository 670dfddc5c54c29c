//! The three forms in which document types are written: `document!`, `choice!` and `union!`.
//!
//! Declarative macros instead of a derive: no further crate, and the whole expansion can be read here. What they
//! generate calls [`Fields`](crate::read::Fields), so a type costs a few lines of code, not a parser.

/// A mapping with fields.
///
/// Each field is `[pub] name: Type [as "spelling"] [= default],`. Without `as` the spelling is the name in camel
/// case; without a default, `Option` fields may be left out and all others must be written. Doc comments become the
/// descriptions in schemas and pages; a type's first paragraph is its summary.
///
/// `pub struct Name: Default { … }` also implements `Default` as what an empty mapping says, and compiles only when
/// no field must be written.
#[macro_export]
macro_rules! document {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident : Default {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident : $type:ty $(as $key:literal)? $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $crate::document! {
            $(#[doc = $doc])*
            $vis struct $name {
                $($(#[doc = $field_doc])* $field_vis $field: $type $(as $key)? $(= $default)?,)*
            }
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                $name { $($field: $crate::document!(@unwritten $type $(= $default)?),)* }
            }
        }
    };
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident : $type:ty $(as $key:literal)? $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[doc = $field_doc])* $field_vis $field: $type,)*
        }

        impl $crate::read::Read for $name {
            fn read(
                node: &$crate::node::Node,
                at: &mut $crate::read::Path,
                problems: &mut $crate::problem::Problems,
            ) -> ::core::option::Option<Self> {
                const KNOWN: &[&str] = &[$($crate::document!(@key $field $($key)?)),*];
                #[allow(unused_variables)]
                let fields = $crate::read::Fields::open::<Self>(node, KNOWN, at, problems)?;
                // All fields are read before the first `?`, so that all of them report.
                $(let $field = fields.take::<$type>(
                    const { $crate::document!(@key $field $($key)?) },
                    $crate::document!(@default $type $(= $default)?),
                    at,
                    problems,
                );)*
                ::core::option::Option::Some($name { $($field: $field?,)* })
            }

            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Object($crate::shape::Object::new(
                    stringify!($name),
                    concat!($($doc, "\n"),*),
                    vec![$($crate::read::field_shape::<$type>(
                        const { $crate::document!(@key $field $($key)?) },
                        concat!($($field_doc, "\n"),*),
                        $crate::document!(@default $type $(= $default)?),
                    )),*],
                ))
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                #[allow(unused_mut)]
                let mut map = $crate::__private::serde::Serializer::serialize_map(
                    serializer,
                    ::core::option::Option::None,
                )?;
                $($crate::read::write_field(
                    &mut map,
                    const { $crate::document!(@key $field $($key)?) },
                    &self.$field,
                    $crate::document!(@default $type $(= $default)?),
                )?;)*
                $crate::__private::serde::ser::SerializeMap::end(map)
            }
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => {{
        const NAME: &str = stringify!($field);
        const BYTES: [u8; $crate::read::camel_length(NAME)] = $crate::read::camel(NAME);
        match ::core::str::from_utf8(&BYTES) {
            Ok(key) => key,
            Err(_) => NAME,
        }
    }};
    (@default $type:ty) => { ::core::option::Option::<fn() -> $type>::None };
    (@default $type:ty = $default:expr) => { ::core::option::Option::Some((|| $default) as fn() -> $type) };
    (@unwritten $type:ty) => { <$type as $crate::read::Optional>::unwritten() };
    (@unwritten $type:ty = $default:expr) => { $default };
}

/// One of several words.
///
/// Each variant is `Name = "word",`. Implements `ALL`, `as_str`, `Display`, `Serialize` and `Read`; a default is a
/// matter of the field, so none is implied here.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[doc = $word_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in the order of the documentation.
            $vis const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word in documents.
            $vis const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        $crate::choice!(@read $name $(#[doc = $doc])* { $($(#[doc = $word_doc])* $variant = $word,)+ });
    };
    // For an enum that is defined elsewhere: only `Read`.
    (
        $(#[doc = $doc:literal])*
        impl Read for $name:ident {
            $($(#[doc = $word_doc:literal])* $variant:ident = $word:expr),+ $(,)?
        }
    ) => {
        $crate::choice!(@read $name $(#[doc = $doc])* { $($(#[doc = $word_doc])* $variant = $word,)+ });
    };
    (@read $name:ident $(#[doc = $doc:literal])* { $($(#[doc = $word_doc:literal])* $variant:ident = $word:expr,)+ }) => {
        impl $crate::read::Read for $name {
            fn read(
                node: &$crate::node::Node,
                at: &mut $crate::read::Path,
                problems: &mut $crate::problem::Problems,
            ) -> ::core::option::Option<Self> {
                $crate::read::word(node, &[$(($word, $name::$variant)),+], at, problems)
            }

            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Choice {
                    name: stringify!($name),
                    doc: $crate::shape::clean(concat!($($doc, "\n"),*)),
                    words: vec![$($crate::shape::Word::new($word, concat!($($word_doc, "\n"),*))),+],
                }
            }
        }
    };
}

/// A mapping with exactly one of several fields.
///
/// Each variant is `Name(Type) [as "spelling"],`; without `as` the field is the variant's name in camel case.
#[macro_export]
macro_rules! union {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $field_doc:literal])* $variant:ident ( $type:ty ) $(as $key:literal)?),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $name {
            $($(#[doc = $field_doc])* $variant($type),)+
        }

        impl $crate::read::Read for $name {
            fn read(
                node: &$crate::node::Node,
                at: &mut $crate::read::Path,
                problems: &mut $crate::problem::Problems,
            ) -> ::core::option::Option<Self> {
                const KNOWN: &[&str] = &[$($crate::document!(@key $variant $($key)?)),+];
                let fields = $crate::read::Fields::open::<Self>(node, KNOWN, at, problems)?;
                let (key, node) = fields.only(KNOWN, at, problems)?;
                $(if &*key.name == const { $crate::document!(@key $variant $($key)?) } {
                    return at.field(&key.name, |at| {
                        <$type as $crate::read::Read>::read(node, at, problems).map($name::$variant)
                    });
                })+
                // `only` answers with a known key; should that ever change, this is a problem and not a value.
                problems.push($crate::read::unknown(key, at));
                ::core::option::Option::None
            }

            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Union($crate::shape::Object::new(
                    stringify!($name),
                    concat!($($doc, "\n"),*),
                    vec![$($crate::shape::Field::optional(
                        const { $crate::document!(@key $variant $($key)?) },
                        concat!($($field_doc, "\n"),*),
                        ::core::option::Option::None,
                        <$type as $crate::read::Read>::shape(),
                    )),+],
                ))
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use $crate::__private::serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(::core::option::Option::Some(1))?;
                match self {
                    $($name::$variant(value) => {
                        map.serialize_entry(const { $crate::document!(@key $variant $($key)?) }, value)?;
                    })+
                }
                map.end()
            }
        }
    };
}
