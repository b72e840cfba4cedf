//! The official names of what can be wrong.

use std::fmt;

/// Why an answer is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// No list of calls whose arguments are all JSON.
    DecoderFailed,
    /// A call's arguments are JSON and no object.
    WrongOutputFormat,
    /// Not exactly one call where one is due.
    SimpleWrongCount,
    /// Not as many calls as answers, several functions offered.
    MultipleWrongCount,
    /// Not as many calls as answers, parallel calls.
    ParallelWrongCount,
    /// An answer that no unused call matches.
    CannotFindMatch,
    /// The call names another function.
    WrongFuncName,
    /// A required parameter is not sent.
    MissingRequired,
    /// A parameter is sent that the function or the answer does not know.
    UnexpectedParam,
    /// A parameter is not sent that the answer does not let out.
    MissingOptional,
    /// The value has another kind than the parameter.
    TypeSimple,
    /// The list has elements of another kind.
    TypeNested,
    /// A string is none of the acceptable ones.
    ValueString,
    /// A scalar is none of the acceptable ones.
    ValueOthers,
    /// A list is none of the acceptable ones.
    ValueList,
    /// A key of an object is unknown or missing.
    DictKey,
    /// A value in an object is none of the acceptable ones.
    DictValue,
    /// A list of objects has another length.
    ListDictCount,
    /// No acceptable object is known.
    DictUnclear,
    /// No acceptable list of objects is known.
    ListDictUnclear,
    /// A call where none is due.
    IrrelevanceCalled,
    /// No call where one is due.
    RelevanceNotCalled,
    /// Ours, under strict abstention: a malformed call where none is due.
    MalformedAbstention,
    /// Ours: the official checker raises an exception.
    Raised,
}

impl ErrorType {
    /// The official name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorType::DecoderFailed => "ast_decoder:decoder_failed",
            ErrorType::WrongOutputFormat => "ast_decoder:decoder_wrong_output_format",
            ErrorType::SimpleWrongCount => "simple_function_checker:wrong_count",
            ErrorType::MultipleWrongCount => "multiple_function_checker:wrong_count",
            ErrorType::ParallelWrongCount => "parallel_function_checker_no_order:wrong_count",
            ErrorType::CannotFindMatch => "parallel_function_checker_no_order:cannot_find_match",
            ErrorType::WrongFuncName => "simple_function_checker:wrong_func_name",
            ErrorType::MissingRequired => "simple_function_checker:missing_required",
            ErrorType::UnexpectedParam => "simple_function_checker:unexpected_param",
            ErrorType::MissingOptional => "simple_function_checker:missing_optional",
            ErrorType::TypeSimple => "type_error:simple",
            ErrorType::TypeNested => "type_error:nested",
            ErrorType::ValueString => "value_error:string",
            ErrorType::ValueOthers => "value_error:others",
            ErrorType::ValueList => "value_error:list/tuple",
            ErrorType::DictKey => "value_error:dict_key",
            ErrorType::DictValue => "value_error:dict_value",
            ErrorType::ListDictCount => "value_error:list_dict_count",
            ErrorType::DictUnclear => "dict_checker:unclear",
            ErrorType::ListDictUnclear => "list_dict_checker:unclear",
            ErrorType::IrrelevanceCalled => "irrelevance_error:decoder_success",
            ErrorType::RelevanceNotCalled => "relevance_error:decoder_failed",
            ErrorType::MalformedAbstention => "irrelevance_error:malformed_call",
            ErrorType::Raised => "checker:raised",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
