#include "tests/linearizability/edn.h"

#include <algorithm>
#include <cctype>

namespace raftkv::linearizability::edn {
namespace {

constexpr int kMaxDepth = 32;

bool IsSpace(char byte) { return byte == ',' || std::isspace(static_cast<unsigned char>(byte)); }

bool EndsWord(char byte) {
  return IsSpace(byte) || std::string_view("()[]{}\"").find(byte) != std::string_view::npos;
}

std::unexpected<Status> Fail(std::string message) {
  return Error(Code::kInvalidArgument, std::move(message));
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::string_view rest() const { return rest_; }

  Result<Value> Take(int depth) {
    if (depth > kMaxDepth) return Fail("values are nested too deeply");
    SkipSpace();
    if (rest_.empty()) return Fail("a value is missing");
    switch (rest_.front()) {
      case '"':
        return TakeString();
      case '[':
        return TakeItems(1, ']', Value::Type::kSequence, depth);
      case '(':
        return TakeItems(1, ')', Value::Type::kSequence, depth);
      case '{':
        return TakeItems(1, '}', Value::Type::kMap, depth);
      case '#':
        if (rest_.starts_with("#{")) return TakeItems(2, '}', Value::Type::kSequence, depth);
        TakeText();  // a tag
        return Take(depth + 1);
      default:
        return TakeWord();
    }
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
  }

  std::string_view TakeText() {
    const auto end = std::ranges::find_if(rest_, EndsWord);
    const std::string_view text = rest_.substr(0, static_cast<size_t>(end - rest_.begin()));
    rest_.remove_prefix(text.size());
    return text;
  }

  Result<Value> TakeWord() {
    const std::string_view text = TakeText();
    if (text.empty()) return Fail("unexpected '" + std::string(1, rest_.front()) + "'");
    if (text == "nil") return Value{};
    if (text.starts_with(':')) return Value{Value::Type::kKeyword, std::string(text.substr(1)), {}};
    return Value{Value::Type::kWord, std::string(text), {}};
  }

  Result<Value> TakeString() {
    Value value{Value::Type::kString, "", {}};
    for (rest_.remove_prefix(1); !rest_.empty(); rest_.remove_prefix(1)) {
      char byte = rest_.front();
      if (byte == '"') {
        rest_.remove_prefix(1);
        return value;
      }
      if (byte == '\\') {
        rest_.remove_prefix(1);
        if (rest_.empty()) break;
        byte = rest_.front();
        if (byte == 'n') byte = '\n';
        if (byte == 't') byte = '\t';
        if (byte == 'r') byte = '\r';
      }
      value.text += byte;
    }
    return Fail("a string has no end");
  }

  Result<Value> TakeItems(size_t opening, char closing, Value::Type type, int depth) {
    Value value{type, "", {}};
    rest_.remove_prefix(opening);
    for (SkipSpace(); !rest_.starts_with(closing); SkipSpace()) {
      if (rest_.empty()) return Fail(std::string("a '") + closing + "' is missing");
      ASSIGN_OR_RETURN(Value item, Take(depth + 1));
      value.items.push_back(std::move(item));
    }
    rest_.remove_prefix(1);
    if (type == Value::Type::kMap && value.items.size() % 2 != 0) {
      return Fail("a map has a key without a value");
    }
    return value;
  }

  std::string_view rest_;
};

}  // namespace

const Value* Value::Find(std::string_view keyword) const {
  for (size_t i = 0; type == Type::kMap && i + 1 < items.size(); i += 2) {
    if (items[i].IsKeyword(keyword)) return &items[i + 1];
  }
  return nullptr;
}

Result<Value> Take(std::string_view* text) {
  Parser parser(*text);
  auto value = parser.Take(0);
  *text = parser.rest();
  return value;
}

bool IsBlank(std::string_view text) { return std::ranges::all_of(text, IsSpace); }

}  // namespace raftkv::linearizability::edn
