//! Reads a syntax tree and writes the program anew, guarded.
//!
//! Refused, since nothing could bound them: methods and size-dependent built-in functions as values (`f = "x".join`), names of
//! built-in functions for something else, `load`, bytes, attributes that are set, and a place that is computed twice
//! (`a[f()] += x`); and outside of functions calls of the program's own functions and lambdas: what is computed there is frozen.

use starlark::syntax::AstModule;
use starlark::syntax::ast::{
    Argument, AssignOp, AssignTarget, AstArgument, AstAssignTarget, AstExpr, AstLiteral, AstParameter, AstStmt, BinOp,
    Clause, Expr, ForClause, Parameter, Stmt,
};

use super::limits::LOCALS_MAX;
use super::natives::Guarded;
use super::text::Problem;

/// Names of our own functions begin so; no other name does.
const OURS: &str = "exactod_";

/// How a built-in function reads its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Item by item.
    Items,
    /// With all that they hold.
    Deep,
    /// It compares them.
    Sorts,
    /// It calls a function for each item.
    Each,
    /// As a number.
    Number,
}

/// Built-in functions whose cost depends on what they are given. They can only be called.
const FUNCTIONS: &[(&str, Reads)] = &[
    ("all", Reads::Items),
    ("any", Reads::Items),
    ("dict", Reads::Items),
    ("enumerate", Reads::Items),
    ("fail", Reads::Deep),
    ("filter", Reads::Each),
    ("float", Reads::Items),
    ("hash", Reads::Items),
    ("int", Reads::Number),
    ("list", Reads::Items),
    ("map", Reads::Each),
    ("max", Reads::Sorts),
    ("min", Reads::Sorts),
    ("range", Reads::Items),
    ("repr", Reads::Deep),
    ("reversed", Reads::Items),
    ("sorted", Reads::Sorts),
    ("str", Reads::Deep),
    ("title", Reads::Items),
    ("tuple", Reads::Items),
    ("zip", Reads::Items),
];
/// Built-in functions that read nothing but the value itself.
const PLAIN: &[&str] = &["abs", "bool", "chr", "fixed", "len", "ord", "type"];
/// Built-in functions that are not there.
const DENIED: &[&str] = &["bytes", "dir", "getattr", "hasattr"];

/// Methods that look at one item, or at none: the receiver is not read.
const LIGHT: &[&str] = &["append", "clear", "popitem"];
/// Methods that look up a key.
const KEYED: &[&str] = &["get", "pop", "setdefault"];
/// Methods that read their argument item by item, not the receiver.
const TAKING: &[&str] = &["extend", "update"];
/// Methods that compare the receiver's items with their argument.
const COMPARING: &[&str] = &["count", "index", "remove"];
/// Methods of texts that give many values.
const SPLITTING: &[&str] =
    &["codepoints", "elems", "decode", "partition", "rpartition", "rsplit", "split", "splitlines"];
/// Methods of texts whose result may be much longer than what they are given.
const GROWING: &[&str] = &["format", "join", "replace"];

/// Writes a module guarded. `hidden` are names of parameters that may be those of built-in functions: what they name is data.
///
/// # Errors
/// Everything in it that is refused.
pub(super) fn rewrite(module: &AstModule, source: &str, hidden: &[&str]) -> Result<String, Vec<Problem>> {
    let mut out = Writer {
        source,
        hidden,
        text: String::new(),
        line: 1,
        problems: Vec::new(),
        locals: 0,
        inside: 0,
        comprehensions: 0,
        naming_parameters: false,
        globals: Vec::new(),
    };
    out.block(module.statement(), 0);
    out.check_globals();
    if out.problems.is_empty() { Ok(out.text) } else { Err(out.problems) }
}

struct Writer<'s> {
    source: &'s str,
    hidden: &'s [&'s str],
    text: String,
    line: usize,
    problems: Vec<Problem>,
    /// Parameters and assigned names of the function so far.
    locals: usize,
    /// Functions around.
    inside: usize,
    /// Comprehensions around.
    comprehensions: usize,
    /// The names that are bound just now are those of parameters.
    naming_parameters: bool,
    /// Names assigned outside of functions.
    globals: Vec<String>,
}

fn number_of(op: BinOp) -> Option<Guarded> {
    Some(match op {
        BinOp::Add => Guarded::Add,
        BinOp::Multiply => Guarded::Multiply,
        BinOp::Percent => Guarded::Percent,
        BinOp::BitOr => Guarded::BitOr,
        BinOp::LeftShift => Guarded::LeftShift,
        BinOp::Equal => Guarded::Equal,
        BinOp::NotEqual => Guarded::NotEqual,
        BinOp::Less => Guarded::Less,
        BinOp::Greater => Guarded::Greater,
        BinOp::LessOrEqual => Guarded::LessOrEqual,
        BinOp::GreaterOrEqual => Guarded::GreaterOrEqual,
        BinOp::In => Guarded::In,
        BinOp::NotIn => Guarded::NotIn,
        _ => return None,
    })
}

fn sign_of(op: BinOp) -> &'static str {
    match op {
        BinOp::Or => "or",
        BinOp::And => "and",
        BinOp::Equal => "==",
        BinOp::NotEqual => "!=",
        BinOp::Less => "<",
        BinOp::Greater => ">",
        BinOp::LessOrEqual => "<=",
        BinOp::GreaterOrEqual => ">=",
        BinOp::In => "in",
        BinOp::NotIn => "not in",
        BinOp::Subtract => "-",
        BinOp::Add => "+",
        BinOp::Multiply => "*",
        BinOp::Percent => "%",
        BinOp::Divide => "/",
        BinOp::FloorDivide => "//",
        BinOp::BitAnd => "&",
        BinOp::BitOr => "|",
        BinOp::BitXor => "^",
        BinOp::LeftShift => "<<",
        BinOp::RightShift => ">>",
    }
}

fn assigning(op: AssignOp) -> (&'static str, Option<Guarded>) {
    match op {
        AssignOp::Add => ("+=", Some(Guarded::Add)),
        AssignOp::Subtract => ("-=", None),
        AssignOp::Multiply => ("*=", Some(Guarded::Multiply)),
        AssignOp::Divide => ("/=", None),
        AssignOp::FloorDivide => ("//=", None),
        AssignOp::Percent => ("%=", Some(Guarded::Percent)),
        AssignOp::BitAnd => ("&=", None),
        AssignOp::BitOr => ("|=", Some(Guarded::BitOr)),
        AssignOp::BitXor => ("^=", None),
        AssignOp::LeftShift => ("<<=", Some(Guarded::LeftShift)),
        AssignOp::RightShift => (">>=", None),
    }
}

/// A number as it stands in the program: with it no text, list or dict is meant.
fn is_number(expr: &AstExpr) -> bool {
    matches!(&expr.node, Expr::Literal(AstLiteral::Int(_) | AstLiteral::Float(_)))
}

/// Computed twice it gives the same, and does nothing else.
fn is_plain(expr: &AstExpr) -> bool {
    match &expr.node {
        Expr::Identifier(_) | Expr::Literal(_) => true,
        Expr::Index(pair) => is_plain(&pair.0) && is_plain(&pair.1),
        _ => false,
    }
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.line += text.matches('\n').count();
        self.text.push_str(text);
    }

    fn refuse(&mut self, span: starlark::codemap::Span, message: String, hint: &str) {
        let range = span.begin().get() as usize..span.end().get() as usize;
        self.problems.push(Problem::at(range, message).hint(hint));
    }

    /// At the end: values outside of functions are as deep as any value may be. They are frozen by recursion. What calls no
    /// function and makes none can hide no value from this.
    fn check_globals(&mut self) {
        let globals = std::mem::take(&mut self.globals);
        if !globals.is_empty() {
            self.push(&format!("\nexactod_deep([{}])\n", globals.join(", ")));
        }
    }

    /// A name that is bound here.
    fn bound(&mut self, name: &str, span: starlark::codemap::Span) {
        self.locals += 1;
        if self.locals == LOCALS_MAX + 1 {
            let message = format!("a function has at most {LOCALS_MAX} parameters and assigned names");
            self.refuse(span, message, "put some of the values into a dict");
        }
        if self.inside == 0 && self.comprehensions == 0 && !self.naming_parameters && PLAIN.contains(&name) {
            self.refuse(span, format!("`{name}` is a built-in function"), "choose another name");
        }
        let is_built_in = DENIED.contains(&name) || FUNCTIONS.iter().any(|(known, _)| *known == name);
        if (is_built_in && !self.hidden.contains(&name)) || name.starts_with(OURS) {
            self.refuse(span, format!("`{name}` is a built-in function"), "choose another name");
        }
        self.push(name);
    }

    fn named(&mut self, name: &str, span: starlark::codemap::Span) {
        if self.hidden.contains(&name) && !name.starts_with(OURS) {
            return self.push(name);
        }
        if FUNCTIONS.iter().any(|(known, _)| *known == name) {
            let hint = "a built-in function can be called, and not stored or handed on: wrap it in a lambda";
            self.refuse(span, format!("`{name}` is not called here"), hint);
        } else if DENIED.contains(&name) || name.starts_with(OURS) {
            self.refuse(span, format!("there is no `{name}` here"), "only what is bounded can be used");
        }
        self.push(name);
    }

    /// Statements at a depth, each at its line in the source as far as possible, so that errors name it.
    fn block(&mut self, statement: &AstStmt, depth: usize) {
        if let Stmt::Statements(all) = &statement.node {
            if all.is_empty() && depth > 0 {
                self.indented(statement, depth);
                self.push("pass\n");
            }
            all.iter().for_each(|one| self.block(one, depth));
            return;
        }
        self.indented(statement, depth);
        self.statement(statement, depth);
    }

    fn indented(&mut self, statement: &AstStmt, depth: usize) {
        let begin = (statement.span.begin().get() as usize).min(self.source.len());
        let wanted = self.source.as_bytes()[..begin].iter().filter(|b| **b == b'\n').count() + 1;
        while self.line < wanted {
            self.push("\n");
        }
        self.push(&" ".repeat(depth));
    }

    fn statement(&mut self, statement: &AstStmt, depth: usize) {
        match &statement.node {
            Stmt::Break => self.push("break\n"),
            Stmt::Continue => self.push("continue\n"),
            Stmt::Pass => self.push("pass\n"),
            Stmt::Return(value) => {
                self.push("return ");
                if let Some(value) = value {
                    self.expr(value);
                }
                self.push("\n");
            }
            Stmt::Expression(value) => {
                self.expr(value);
                self.push("\n");
            }
            Stmt::Assign(assign) => {
                self.target(&assign.lhs);
                self.push(" = ");
                self.expr(&assign.rhs);
                self.push("\n");
            }
            Stmt::AssignModify(target, op, value) => self.modify(target, *op, value),
            Stmt::Statements(_) => self.block(statement, depth),
            Stmt::If(condition, body) => self.branch("if", condition, body, depth),
            Stmt::IfElse(condition, branches) => {
                self.branch("if", condition, &branches.0, depth);
                self.otherwise(&branches.1, depth);
            }
            Stmt::For(cycle) => {
                self.push("for ");
                self.target(&cycle.var);
                self.push(" in ");
                self.expr(&cycle.over);
                self.push(":\n");
                self.block(&cycle.body, depth + 1);
            }
            Stmt::Def(def) => {
                let outside = std::mem::take(&mut self.locals);
                self.push("def ");
                self.bound(&def.name.node.ident, def.name.span);
                self.push("(");
                self.parameters(&def.params);
                self.inside += 1;
                self.push("):\n");
                self.block(&def.body, depth + 1);
                self.inside -= 1;
                self.locals = outside;
            }
            Stmt::Load(_) => self.refuse(statement.span, "`load` reads files".to_owned(), "a program is one file"),
        }
    }

    /// The other branch: `elif` as long as it is one more condition, so that each line keeps its number.
    fn otherwise(&mut self, mut statement: &AstStmt, depth: usize) {
        loop {
            self.indented(statement, depth);
            match &statement.node {
                Stmt::If(condition, body) => return self.branch("elif", condition, body, depth),
                Stmt::IfElse(condition, branches) => {
                    self.branch("elif", condition, &branches.0, depth);
                    statement = &branches.1;
                }
                _ => {
                    self.push("else:\n");
                    return self.block(statement, depth + 1);
                }
            }
        }
    }

    fn branch(&mut self, word: &str, condition: &AstExpr, body: &AstStmt, depth: usize) {
        self.push(word);
        self.push(" ");
        self.expr(condition);
        self.push(":\n");
        self.block(body, depth + 1);
    }

    fn target(&mut self, target: &AstAssignTarget) {
        match &target.node {
            AssignTarget::Identifier(name) => {
                if self.inside == 0 && self.comprehensions == 0 {
                    self.globals.push(name.node.ident.clone());
                }
                self.bound(&name.node.ident, name.span);
            }
            AssignTarget::Tuple(all) => {
                self.push("[");
                for one in all {
                    self.target(one);
                    self.push(", ");
                }
                self.push("]");
            }
            AssignTarget::Index(pair) => {
                self.expr(&pair.0);
                self.push("[");
                self.key(&pair.1);
                self.push("]");
            }
            AssignTarget::Dot(..) => {
                self.refuse(target.span, "attributes cannot be set".to_owned(), "use a dict: x[\"name\"] = ..");
            }
        }
    }

    fn modify(&mut self, target: &AstAssignTarget, op: AssignOp, value: &AstExpr) {
        let (sign, guarded) = assigning(op);
        if let AssignTarget::Index(pair) = &target.node
            && !(is_plain(&pair.0) && is_plain(&pair.1))
        {
            let hint = "give the list or dict and the place names first";
            self.refuse(target.span, format!("the place on the left of `{sign}` is computed"), hint);
            return;
        }
        self.target(target);
        self.push(&format!(" {sign} "));
        match guarded.filter(|g| *g != Guarded::Add || !is_number(value)) {
            None => self.expr(value),
            Some(guarded) => {
                self.push(&format!("exactod_by({}, ", guarded as i32));
                self.target(target);
                self.push(", ");
                self.expr(value);
                self.push(")");
            }
        }
        self.push("\n");
    }

    fn parameter_name(&mut self, name: &str, span: starlark::codemap::Span) {
        self.naming_parameters = true;
        self.bound(name, span);
        self.naming_parameters = false;
    }

    fn parameters(&mut self, all: &[AstParameter]) {
        for parameter in all {
            match &parameter.node {
                Parameter::Slash => self.push("/"),
                Parameter::NoArgs => self.push("*"),
                Parameter::Normal(name, _, default) => {
                    self.parameter_name(&name.node.ident, name.span);
                    if let Some(default) = default {
                        self.push("=");
                        self.expr(default);
                    }
                }
                Parameter::Args(name, _) => {
                    self.push("*");
                    self.parameter_name(&name.node.ident, name.span);
                }
                Parameter::KwArgs(name, _) => {
                    self.push("**");
                    self.parameter_name(&name.node.ident, name.span);
                }
            }
            self.push(", ");
        }
        // `*` alone and `**rest` bear no comma after them.
        if self.text.ends_with(", ") {
            self.text.truncate(self.text.len() - 2);
        }
    }

    fn list(&mut self, all: &[AstExpr]) {
        for one in all {
            self.expr(one);
            self.push(", ");
        }
    }

    /// An expression inside a call of one of our functions.
    fn through(&mut self, function: &str, expr: &AstExpr) {
        if is_number(expr) {
            return self.expr(expr);
        }
        self.push(&format!("{OURS}{function}("));
        self.expr(expr);
        self.push(")");
    }

    fn key(&mut self, expr: &AstExpr) {
        match &expr.node {
            Expr::Literal(_) => self.expr(expr),
            _ => self.through("key", expr),
        }
    }

    fn expr(&mut self, expr: &AstExpr) {
        match &expr.node {
            Expr::Tuple(all) => {
                self.push("(");
                self.list(all);
                self.push(")");
            }
            Expr::List(all) => {
                self.push("[");
                self.list(all);
                self.push("]");
            }
            Expr::Dict(entries) => {
                self.push("{");
                for (key, value) in entries {
                    self.key(key);
                    self.push(": ");
                    self.expr(value);
                    self.push(", ");
                }
                self.push("}");
            }
            Expr::Dot(_, name) => {
                let hint = "a method can be called, and not stored or handed on: wrap it in a lambda";
                self.refuse(expr.span, format!("`{}` is not called here", name.node), hint);
            }
            Expr::Call(callee, arguments) => self.call(callee, &arguments.args),
            Expr::Index(pair) => {
                self.bracketed(&pair.0);
                self.push("[");
                self.key(&pair.1);
                self.push("]");
            }
            Expr::Index2(_) => {
                self.refuse(expr.span, "an index is one value".to_owned(), "use one pair of brackets for each");
            }
            Expr::Slice(value, from, to, step) => self.slice(value, [from, to, step].map(Option::as_deref)),
            Expr::Identifier(name) => self.named(&name.node.ident, name.span),
            Expr::Lambda(lambda) => {
                self.only_inside("a lambda", expr.span);
                self.push("(lambda ");
                self.parameters(&lambda.params);
                self.push(": ");
                self.expr(&lambda.body);
                self.push(")");
            }
            Expr::Literal(literal) => self.literal(literal, expr),
            Expr::Not(inner) => self.prefixed("not ", inner),
            Expr::Minus(inner) => self.prefixed("-", inner),
            Expr::Plus(inner) => self.prefixed("+", inner),
            Expr::BitNot(inner) => self.prefixed("~", inner),
            Expr::Op(l, op, r) => self.operator(l, *op, r),
            Expr::If(parts) => {
                let (condition, yes, no) = &**parts;
                self.push("(");
                self.expr(yes);
                self.push(" if ");
                self.expr(condition);
                self.push(" else ");
                self.expr(no);
                self.push(")");
            }
            Expr::ListComprehension(value, first, clauses) => {
                self.push("[");
                self.expr(value);
                self.clauses(first, clauses);
                self.push("]");
            }
            Expr::DictComprehension(entry, first, clauses) => {
                self.push("{");
                self.key(&entry.0);
                self.push(": ");
                self.expr(&entry.1);
                self.clauses(first, clauses);
                self.push("}");
            }
            Expr::FString(parts) => {
                self.push("exactod_text(\"format\", ");
                let format = quoted(&parts.node.format.node);
                self.push(&format);
                self.push(", ");
                self.list(&parts.node.expressions);
                self.push(")");
            }
        }
    }

    fn bracketed(&mut self, expr: &AstExpr) {
        self.push("(");
        self.expr(expr);
        self.push(")");
    }

    fn prefixed(&mut self, sign: &str, inner: &AstExpr) {
        self.push("(");
        self.push(sign);
        self.expr(inner);
        self.push(")");
    }

    fn slice(&mut self, value: &AstExpr, bounds: [Option<&AstExpr>; 3]) {
        self.through("read", value);
        self.push("[");
        for (i, bound) in bounds.into_iter().enumerate() {
            if i > 0 {
                self.push(":");
            }
            if let Some(bound) = bound {
                self.expr(bound);
            }
        }
        self.push("]");
    }

    fn literal(&mut self, literal: &AstLiteral, expr: &AstExpr) {
        match literal {
            AstLiteral::Bytes(_) => self.refuse(expr.span, "there are no bytes here".to_owned(), "use a string"),
            AstLiteral::Ellipsis => self.refuse(expr.span, "there is no `...` here".to_owned(), "use `pass`"),
            _ => {
                let (begin, end) = (expr.span.begin().get() as usize, expr.span.end().get() as usize);
                let source = self.source;
                self.push(source.get(begin..end).unwrap_or("None"));
            }
        }
    }

    fn operator(&mut self, l: &AstExpr, op: BinOp, r: &AstExpr) {
        // With a number as it stands there, most operators read no text, list or dict.
        let numeric = match op {
            BinOp::Multiply | BinOp::LeftShift => false,
            BinOp::Percent => is_number(l),
            _ => is_number(l) || is_number(r),
        };
        match number_of(op).filter(|_| !numeric) {
            Some(guarded) => {
                self.push(&format!("exactod_op({}, ", guarded as i32));
                self.expr(l);
                self.push(", ");
                self.expr(r);
                self.push(")");
            }
            None => {
                self.push("(");
                self.expr(l);
                self.push(&format!(" {} ", sign_of(op)));
                self.expr(r);
                self.push(")");
            }
        }
    }

    fn clauses(&mut self, first: &ForClause, rest: &[Clause]) {
        self.for_clause(first);
        for clause in rest {
            match clause {
                Clause::For(inner) => self.for_clause(inner),
                Clause::If(condition) => {
                    self.push(" if ");
                    self.bracketed(condition);
                }
            }
        }
    }

    fn for_clause(&mut self, clause: &ForClause) {
        self.push(" for ");
        self.comprehensions += 1;
        self.target(&clause.var);
        self.comprehensions -= 1;
        self.push(" in ");
        self.bracketed(&clause.over);
    }

    fn call(&mut self, callee: &AstExpr, arguments: &[AstArgument]) {
        match &callee.node {
            Expr::Identifier(name) => {
                let known = |known: &str| known == name.node.ident && !self.hidden.contains(&known);
                let reads = FUNCTIONS.iter().find(|(name, _)| known(name)).map(|(_, reads)| *reads);
                match reads {
                    Some(reads) => self.built_in(&name.node.ident, reads, arguments),
                    None => {
                        if !PLAIN.contains(&name.node.ident.as_str()) {
                            self.only_inside("a call of a function of the program", callee.span);
                        }
                        self.named(&name.node.ident, name.span);
                        self.arguments(None, arguments);
                    }
                }
            }
            Expr::Dot(receiver, method) => self.method(receiver, &method.node, arguments),
            _ => {
                self.only_inside("a call of a value", callee.span);
                self.bracketed(callee);
                self.arguments(None, arguments);
            }
        }
    }

    fn only_inside(&mut self, what: &str, span: starlark::codemap::Span) {
        if self.inside == 0 {
            self.refuse(span, format!("{what} outside of functions"), "compute it inside a function");
        }
    }

    fn built_in(&mut self, name: &str, reads: Reads, arguments: &[AstArgument]) {
        let by_key = arguments.iter().any(|a| matches!(&a.node, Argument::Named(name, _) if name.node == "key"));
        let way = match reads {
            _ if by_key => "each",
            Reads::Items => "read",
            Reads::Deep => "deep",
            Reads::Sorts => "sort",
            Reads::Each => "each",
            Reads::Number => "int",
        };
        if name == "range" {
            self.push("exactod_range(range");
            self.arguments(None, arguments);
            return self.push(")");
        }
        self.push(name);
        self.arguments(Some(way), arguments);
    }

    fn method(&mut self, receiver: &AstExpr, method: &str, arguments: &[AstArgument]) {
        if matches!(&receiver.node, Expr::Identifier(name) if name.node.ident == "json") && method == "encode" {
            self.push("json.encode");
            return self.arguments(Some("deep"), arguments);
        }
        if GROWING.contains(&method) {
            self.push(&format!("exactod_text(\"{method}\", "));
            self.expr(receiver);
            self.push(", ");
            self.argument_list(None, arguments);
            return self.push(")");
        }
        let is_in = |list: &[&str]| list.contains(&method);
        let (own, given) = match () {
            () if is_in(LIGHT) => (None, None),
            () if is_in(KEYED) => (None, Some("key")),
            () if is_in(TAKING) => (None, Some("read")),
            () if is_in(COMPARING) => (Some("deep"), Some("deep")),
            () if is_in(SPLITTING) => (Some("split"), Some("split")),
            () => (Some("read"), Some("read")),
        };
        // What these give is read later: as a list, it has a length.
        let listed = matches!(method, "elems" | "codepoints");
        if listed {
            self.push("list(");
        }
        match own {
            Some(way) if !matches!(&receiver.node, Expr::Identifier(name) if name.node.ident == "json") => {
                self.through(way, receiver);
            }
            _ => self.bracketed(receiver),
        }
        self.push(".");
        self.push(method);
        self.arguments(given, arguments);
        if listed {
            self.push(")");
        }
    }

    fn arguments(&mut self, way: Option<&str>, all: &[AstArgument]) {
        self.push("(");
        self.argument_list(way, all);
        self.push(")");
    }

    fn argument_list(&mut self, way: Option<&str>, all: &[AstArgument]) {
        for argument in all {
            match &argument.node {
                Argument::Positional(value) => self.argument(way, value),
                Argument::Named(name, value) => {
                    self.push(&format!("{}=", name.node));
                    match way.is_some() && name.node == "key" {
                        true => self.key_function(value),
                        false => self.argument(way, value),
                    }
                }
                Argument::Args(value) => {
                    self.push("*");
                    self.through("read", value);
                }
                Argument::KwArgs(value) => {
                    self.push("**");
                    self.through("read", value);
                }
            }
            self.push(", ");
        }
        if self.text.ends_with(", ") && !all.is_empty() {
            self.text.truncate(self.text.len() - 2);
        }
    }

    /// What a function gives to be compared is reckoned as well.
    fn key_function(&mut self, function: &AstExpr) {
        self.push("(lambda exactod_f: lambda exactod_x: exactod_sort(exactod_f(exactod_x)))(");
        self.expr(function);
        self.push(")");
    }

    fn argument(&mut self, way: Option<&str>, value: &AstExpr) {
        match way {
            Some(way) => self.through(way, value),
            None => self.expr(value),
        }
    }
}

/// A text as a literal.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
