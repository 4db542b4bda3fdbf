#include "tests/linearizability/register_history.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "tests/linearizability/describe.h"
#include "tests/linearizability/edn.h"

namespace raftkv::linearizability {
namespace {

using Function = RegisterOp::Function;

// What one line says.
struct Event {
  enum class Type { kInvoke, kOk, kFail, kInfo };
  uint64_t process = 0;
  Type type = Type::kInvoke;
  Function function = Function::kRead;
  std::string key;
  edn::Value value;
  bool has_error = false;  // more than a mismatch
};

constexpr auto kTypes =
    std::to_array<std::pair<std::string_view, Event::Type>>({{"invoke", Event::Type::kInvoke},
                                                             {"ok", Event::Type::kOk},
                                                             {"fail", Event::Type::kFail},
                                                             {"info", Event::Type::kInfo}});
constexpr auto kFunctions =
    std::to_array<std::pair<std::string_view, Function>>({{"read", Function::kRead},
                                                          {"get", Function::kRead},
                                                          {"write", Function::kWrite},
                                                          {"put", Function::kWrite},
                                                          {"cas", Function::kCas},
                                                          {"append", Function::kAppend}});

template <typename T, size_t N>
std::optional<T> Look(const std::array<std::pair<std::string_view, T>, N>& table,
                      const edn::Value& keyword) {
  for (const auto& [name, value] : table) {
    if (keyword.IsKeyword(name)) return value;
  }
  return std::nullopt;
}

std::unexpected<Status> Fail(std::string message) {
  return Error(Code::kInvalidArgument, std::move(message));
}

std::optional<uint64_t> ToProcess(const edn::Value& value) {
  uint64_t process = 0;
  const char* end = value.text.data() + value.text.size();
  const auto [at, error] = std::from_chars(value.text.data(), end, process);
  if (value.type != edn::Value::Type::kWord || error != std::errc() || at != end) return {};
  return process;
}

// A value of the register: nil, a number, a string or anything else that compares as it is written.
Result<RegisterValue> ToValue(const edn::Value& value) {
  switch (value.type) {
    case edn::Value::Type::kNil:
      return std::nullopt;
    case edn::Value::Type::kWord:
    case edn::Value::Type::kString:
      return value.text;
    case edn::Value::Type::kKeyword:
      return Fail("a value is missing where :" + value.text + " stands");
    default:
      return Fail("a register holds no collections");
  }
}

bool IsMismatchError(const edn::Value& value) {
  return value.IsKeyword("not-found") || value.IsKeyword("mismatch") ||
         value.IsKeyword("precondition-failed") || value.type == edn::Value::Type::kNil;
}

// nullopt: nothing about an operation.
Result<std::optional<Event>> Assemble(const edn::Value& process, const edn::Value& type,
                                      const edn::Value& function, edn::Value value) {
  if (process.type == edn::Value::Type::kKeyword) return std::nullopt;  // :nemesis
  const auto number = ToProcess(process);
  if (!number) return Fail("the process '" + process.text + "' is no number");
  Event event{.process = *number};
  const auto known_type = Look(kTypes, type);
  if (!known_type) return Fail("the type :" + type.text + " is unknown");
  const auto known_function = Look(kFunctions, function);
  if (!known_function) return Fail("the function :" + function.text + " is unknown");
  event.type = *known_type;
  event.function = *known_function;
  event.value = std::move(value);
  return event;
}

Result<std::optional<Event>> ParseMapLine(std::string_view line) {
  ASSIGN_OR_RETURN(const edn::Value map, edn::Take(&line));
  if (!edn::IsBlank(line)) return Fail("something follows the map");
  const edn::Value* process = map.Find("process");
  const edn::Value* type = map.Find("type");
  const edn::Value* function = map.Find("f");
  if (process == nullptr || type == nullptr || function == nullptr) {
    return Fail("the map lacks :process, :type or :f");
  }
  const edn::Value* value = map.Find("value");
  ASSIGN_OR_RETURN(std::optional<Event> event,
                   Assemble(*process, *type, *function, value == nullptr ? edn::Value() : *value));
  if (!event) return std::nullopt;
  if (const edn::Value* key = map.Find("key")) {
    ASSIGN_OR_RETURN(const RegisterValue text, ToValue(*key));
    event->key = text.value_or("");
  }
  const edn::Value* error = map.Find("error");
  event->has_error = error != nullptr && !IsMismatchError(*error);
  return event;
}

// Whether a line of this logger is about an operation: it names a process, or its second word is a
// keyword. The logger has other things to say, too.
bool IsOfOperation(std::string_view line) {
  const auto first = edn::Take(&line);
  if (!first || ToProcess(*first)) return true;
  const auto second = edn::Take(&line);
  return second && second->type == edn::Value::Type::kKeyword;
}

// `line` begins behind the name of the logger.
Result<std::optional<Event>> ParseLogLine(std::string_view line) {
  if (!IsOfOperation(line)) return std::nullopt;
  std::vector<edn::Value> words;
  while (words.size() < 3) {
    auto word = edn::Take(&line);
    if (!word) return Fail("the process, its type or its function is missing");
    words.push_back(*std::move(word));
  }
  if (words[1].type != edn::Value::Type::kKeyword || words[2].type != edn::Value::Type::kKeyword) {
    return Fail("the type and the function of an operation are keywords");
  }
  edn::Value value;
  if (!edn::IsBlank(line)) {
    ASSIGN_OR_RETURN(value, edn::Take(&line));
  }
  ASSIGN_OR_RETURN(std::optional<Event> event,
                   Assemble(words[0], words[1], words[2], std::move(value)));
  if (!event || edn::IsBlank(line)) return event;
  const auto error = edn::Take(&line);
  event->has_error = !error || !IsMismatchError(*error);
  return event;
}

// Cuts off white space, and the brackets of a vector that the lines are part of.
std::string_view Trim(std::string_view line) {
  const auto is_space = [](char byte) { return std::isspace(static_cast<unsigned char>(byte)); };
  while (!line.empty() && (is_space(line.front()) || line.front() == '[')) line.remove_prefix(1);
  while (!line.empty() && (is_space(line.back()) || line.back() == ']')) line.remove_suffix(1);
  return line;
}

// "java.io.IOException: broken pipe", and the calls that it came through.
bool IsOfException(std::string_view line) {
  const std::string_view first = line.substr(0, line.find_first_of(" :\t"));
  return first.ends_with("Exception") || first.ends_with("Error") || first == "at" ||
         first == "..." || line.starts_with("Caused by: ");
}

// Nothing, a comment, or what somebody else logged: "WARN  jepsen.core - the network heals". All
// else may be an operation that was damaged.
bool IsOfAnotherLogger(std::string_view line) {
  line = Trim(line);
  if (line.empty() || line.starts_with('#') || line.starts_with(';')) return true;
  if (IsOfException(line)) return true;
  constexpr std::string_view kLevels[] = {"TRACE ", "DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "};
  const bool has_level = std::ranges::any_of(
      kLevels, [&](std::string_view level) { return line.find(level) != line.npos; });
  return has_level && line.find(" - ") != line.npos;
}

Result<std::optional<Event>> ParseLine(std::string_view line) {
  constexpr std::string_view kLogger = "jepsen.util";
  if (const std::string_view map = Trim(line); map.starts_with('{')) return ParseMapLine(map);
  const size_t logger = line.find(kLogger);
  if (logger == line.npos) {
    if (IsOfAnotherLogger(line)) return std::nullopt;
    return Fail("is no operation, and no other line of a log");
  }
  line.remove_prefix(logger + kLogger.size());
  while (line.starts_with(' ') || line.starts_with('-')) line.remove_prefix(1);
  return ParseLogLine(line);
}

bool IsPair(const edn::Value& value) {
  return value.type == edn::Value::Type::kSequence && value.items.size() == 2;
}

Result<RegisterOp> Invoke(const Event& event, int64_t line) {
  RegisterOp op{.process = event.process, .function = event.function, .key = event.key};
  op.interval.call = line;
  if (event.function == Function::kCas) {
    if (!IsPair(event.value)) return Fail("a cas takes [expected new]");
    ASSIGN_OR_RETURN(op.expected, ToValue(event.value.items[0]));
    ASSIGN_OR_RETURN(op.value, ToValue(event.value.items[1]));
  } else if (event.function != Function::kRead) {
    ASSIGN_OR_RETURN(op.value, ToValue(event.value));
  }
  return op;
}

Status Complete(const Event& event, int64_t line, RegisterOp* op) {
  if (event.function != op->function || event.key != op->key) {
    return Status(Code::kInvalidArgument, "the process has invoked something else");
  }
  if (event.type == Event::Type::kInfo) return Status::Ok();
  op->interval.end = line;
  if (event.type == Event::Type::kFail) {
    // A cas that names its values, and no other reason, found another value than it expected.
    const bool mismatch =
        event.function == Function::kCas && IsPair(event.value) && !event.has_error;
    op->outcome = mismatch ? RegisterOp::Outcome::kMismatch : RegisterOp::Outcome::kFail;
    return Status::Ok();
  }
  op->outcome = RegisterOp::Outcome::kOk;
  if (event.function == Function::kRead) {
    ASSIGN_OR_RETURN_STATUS(op->value, ToValue(event.value));
  } else if (event.value.type != edn::Value::Type::kNil) {
    // The answer to a write repeats what was asked for.
    ASSIGN_OR_RETURN_STATUS(const RegisterOp told, Invoke(event, line));
    if (told.value != op->value || told.expected != op->expected) {
      return Status(Code::kInvalidArgument, "the process has asked for another value");
    }
  }
  return Status::Ok();
}

std::string FormatValue(const RegisterValue& value) {
  if (!value) return "nil";
  std::string text = "\"";
  for (const char byte : *value) {
    constexpr std::string_view kEscaped = "\"\\\n\r\t";
    constexpr std::string_view kLetters = "\"\\nrt";
    const size_t escape = kEscaped.find(byte);
    if (escape != kEscaped.npos) text += '\\';
    text += escape != kEscaped.npos ? kLetters[escape] : byte;
  }
  return text + "\"";
}

std::string FormatLine(const RegisterOp& op, std::string_view type, int64_t number) {
  std::string function;
  for (const auto& [name, value] : kFunctions) {
    if (value == op.function && function.empty()) function = name;
  }
  std::string text = "{:process " + std::to_string(op.process) + ", :type :" + std::string(type) +
                     ", :f :" + function;
  if (!op.key.empty()) text += ", :key " + FormatValue(op.key);
  const bool is_cas = op.function == Function::kCas;
  const bool is_question = op.function == Function::kRead && type == "invoke";
  const std::string value = is_question ? "nil" : FormatValue(op.value);
  text += ", :value " + (is_cas ? "[" + FormatValue(op.expected) + " " + value + "]" : value);
  if (op.outcome == RegisterOp::Outcome::kFail && type == "fail") text += ", :error :failed";
  return text + ", :line " + std::to_string(number) + "}\n";
}

}  // namespace

Result<std::vector<RegisterOp>> ParseRegisterLog(std::string_view text) {
  std::vector<RegisterOp> ops;
  std::map<uint64_t, size_t> open;  // by process
  const bool is_blank = edn::IsBlank(text);
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string prefix = "line " + std::to_string(number) + ": ";
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    auto event = ParseLine(line);
    if (!event) return Fail(prefix + event.error().message());
    if (!*event) continue;
    if ((*event)->type == Event::Type::kInvoke) {
      auto op = Invoke(**event, number);
      if (!op) return Fail(prefix + op.error().message());
      open[op->process] = ops.size();
      ops.push_back(*std::move(op));
      continue;
    }
    const auto invoked = open.find((*event)->process);
    if (invoked == open.end()) return Fail(prefix + "the process has invoked nothing");
    if (const Status status = Complete(**event, number, &ops[invoked->second]); !status.ok()) {
      return Fail(prefix + status.message());
    }
    open.erase(invoked);
  }
  // Another format would otherwise pass for a history in which nothing happened.
  if (ops.empty() && !is_blank) return Fail("there is no operation in this log");
  return ops;
}

std::string FormatRegisterLog(std::span<const RegisterOp> ops) {
  std::map<int64_t, std::string> lines;  // by line of the log
  for (const RegisterOp& op : ops) {
    lines[op.interval.call] = FormatLine(op, "invoke", op.interval.call);
    if (op.interval.end == kNever) continue;
    const bool failed =
        op.outcome == RegisterOp::Outcome::kFail || op.outcome == RegisterOp::Outcome::kMismatch;
    lines[op.interval.end] = FormatLine(op, failed ? "fail" : "ok", op.interval.end);
  }
  std::string text;
  for (const auto& [number, line] : lines) text += line;
  return text;
}

std::string Describe(const RegisterOp& op) {
  // Strings of a map in quotes, numbers of a register without.
  const auto text = [&](const RegisterValue& value) {
    if (!value) return std::string("nil");
    return op.key.empty() ? *value : Quote(*value, 60);
  };
  switch (op.function) {
    case Function::kRead:
      return op.outcome == RegisterOp::Outcome::kOk ? "read: " + text(op.value) : "read";
    case Function::kWrite:
      return "write " + text(op.value);
    case Function::kAppend:
      return "append " + text(op.value);
    case Function::kCas:
      return "cas " + text(op.expected) + " to " + text(op.value);
  }
  return "?";
}

}  // namespace raftkv::linearizability
