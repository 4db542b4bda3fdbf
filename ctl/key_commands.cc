// put, get, del, list.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "base/encoding.h"
#include "ctl/choices.h"
#include "ctl/session.h"
#include "ctl/table.h"

namespace raftkv::ctl {
namespace {

using client::Condition;
using client::Consistency;
using client::KeyValue;
using Json = nlohmann::ordered_json;

// No node takes more; the nodes' own limit is lower.
constexpr size_t kMaxValueBytes = 16 << 20;
// Of a value in a table.
constexpr size_t kShownBytes = 60;

struct KeyArgs {
  std::string key;
  bool key_is_base64 = false;
  std::string value;
  bool value_given = false;
  std::string file;
  Condition condition;
  client::ReadOptions read;
  client::ListRequest list;
  bool count = false;
};
using ArgsPtr = std::shared_ptr<KeyArgs>;

void AddKey(CLI::App* command, const ArgsPtr& args) {
  command->add_option("key", args->key, "the key")->required();
  command->add_flag("--key-base64", args->key_is_base64, "the key is given as base64");
}

void AddCondition(CLI::App* command, const ArgsPtr& args, bool may_be_absent) {
  auto* revision = command
                       ->add_option("--if-revision", args->condition.mod_revision,
                                    "only if the key's newest version has this revision")
                       ->check(WholeNumber(1));
  auto* present = command->add_flag("--if-present", args->condition.present, "only if it exists");
  present->excludes(revision);
  if (!may_be_absent) return;
  command->add_flag("--if-absent", args->condition.absent, "only if it does not exist")
      ->excludes(revision)
      ->excludes(present);
}

void AddReadOptions(CLI::App* command, client::ReadOptions* read) {
  command->add_option("--consistency", read->consistency, "how fresh; default linearizable")
      ->transform(OneOf<Consistency>({{"linearizable", Consistency::kLinearizable},
                                      {"lease", Consistency::kLease},
                                      {"stale", Consistency::kStale}}))
      ->option_text("linearizable|lease|stale");
  command->add_option("--revision", read->revision, "read the state at this older revision")
      ->check(WholeNumber(1));
}

Result<std::string> FromBase64(const std::string& text) {
  auto bytes = Base64Decode(text);
  if (!bytes) return Error(Code::kInvalidArgument, "'" + text + "' is not base64");
  return bytes;
}

Result<std::string> KeyOf(const KeyArgs& args) {
  if (args.key.empty()) return Error(Code::kInvalidArgument, "the key is empty");
  return args.key_is_base64 ? FromBase64(args.key) : args.key;
}

Result<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string bytes;
  std::vector<char> buffer(64 << 10);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    bytes.append(buffer.data(), static_cast<size_t>(in.gcount()));
    if (bytes.size() > kMaxValueBytes)
      return Error(Code::kInvalidArgument, name + " is longer than the largest value, 16 MiB");
  }
  if (in.bad()) return Error(Code::kIoError, "cannot read " + name);
  return bytes;
}

Result<std::string> ValueOf(const KeyArgs& args, std::istream& in) {
  if (!args.file.empty() && args.file != "-") {
    std::ifstream file(args.file, std::ios::binary);
    if (!file) return Error(Code::kIoError, "cannot open " + args.file);
    return ReadAll(file, args.file);
  }
  if (args.value_given && args.value != "-") return args.value;
  return ReadAll(in, "the standard input");
}

// Text as it is; other bytes as base64, which the field `encoding` says then (as the API does).
void SetBytes(Json& out, const char* field, const char* encoding, const std::string& bytes) {
  bool text = IsUtf8(bytes);
  out[field] = text ? bytes : Base64Encode(bytes);
  if (!text) out[encoding] = "base64";
}

void SetRevisions(Json& out, const KeyValue& item) {
  out["create_revision"] = item.create_revision;
  out["mod_revision"] = item.mod_revision;
  out["version"] = item.version;
}

Status Put(const Session& session, const KeyArgs& args) {
  ASSIGN_OR_RETURN_STATUS(std::string key, KeyOf(args));
  ASSIGN_OR_RETURN_STATUS(std::string value, ValueOf(args, session.in));
  ASSIGN_OR_RETURN_STATUS(client::Client client, session.MakeClient());
  ASSIGN_OR_RETURN_STATUS(auto result, client.Put(key, value, args.condition));
  switch (session.format) {
    case Format::kTable:
      session.out << (result.created ? "created" : "changed") << ", revision " << result.revision
                  << '\n';
      break;
    case Format::kJson:
      session.out << Json{{"revision", result.revision}, {"created", result.created}} << '\n';
      break;
    case Format::kRaw:
      session.out << result.revision << '\n';
  }
  return Status::Ok();
}

Status Get(const Session& session, const KeyArgs& args) {
  ASSIGN_OR_RETURN_STATUS(std::string key, KeyOf(args));
  ASSIGN_OR_RETURN_STATUS(client::Client client, session.MakeClient());
  ASSIGN_OR_RETURN_STATUS(auto result, client.Get(key, args.read));
  if (session.format == Format::kJson) {
    Json out;
    SetBytes(out, "key", "key_encoding", result.item.key);
    SetBytes(out, "value", "encoding", result.item.value);
    SetRevisions(out, result.item);
    out["revision"] = result.revision;
    session.out << out << '\n';
    return Status::Ok();
  }
  session.out << result.item.value;
  if (session.format == Format::kTable) session.out << '\n';
  return Status::Ok();
}

Status Delete(const Session& session, const KeyArgs& args) {
  ASSIGN_OR_RETURN_STATUS(std::string key, KeyOf(args));
  ASSIGN_OR_RETURN_STATUS(client::Client client, session.MakeClient());
  ASSIGN_OR_RETURN_STATUS(uint64_t revision, client.Delete(key, args.condition));
  switch (session.format) {
    case Format::kTable:
      session.out << "deleted, revision " << revision << '\n';
      break;
    case Format::kJson:
      session.out << Json{{"revision", revision}} << '\n';
      break;
    case Format::kRaw:
      session.out << revision << '\n';
  }
  return Status::Ok();
}

void PrintPage(std::ostream& out, const std::vector<KeyValue>& items, bool keys_only, bool first) {
  if (items.empty()) return;
  std::vector<std::string> headings = {"KEY", "REVISION", "VERSION"};
  if (!keys_only) headings.push_back("VALUE");
  Table table(headings);
  for (const KeyValue& item : items) {
    std::vector<std::string> cells = {item.key, std::to_string(item.mod_revision),
                                      std::to_string(item.version)};
    if (!keys_only) {
      bool cut = item.value.size() > kShownBytes;
      cells.push_back(item.value.substr(0, kShownBytes) + (cut ? "..." : ""));
    }
    table.Add(std::move(cells));
  }
  table.Print(out, first);
}

// One page after the other, so that a long list needs no more memory than a page.
Status ListJson(const Session& session, client::Client& client,
                const client::ListRequest& request) {
  session.out << "{\"items\":[";
  bool first = true;
  auto revision = client.List(request, [&](const std::vector<KeyValue>& items) {
    for (const KeyValue& item : items) {
      Json out;
      SetBytes(out, "key", "key_encoding", item.key);
      if (!request.keys_only) SetBytes(out, "value", "encoding", item.value);
      SetRevisions(out, item);
      session.out << (first ? "\n" : ",\n") << out;
      first = false;
    }
    return session.out ? Status::Ok() : Status(Code::kIoError, "cannot write the output");
  });
  if (!revision) return revision.error();
  session.out << "],\"revision\":" << *revision << "}\n";
  return Status::Ok();
}

Status List(const Session& session, const KeyArgs& args) {
  ASSIGN_OR_RETURN_STATUS(client::Client client, session.MakeClient());
  client::ListRequest request = args.list;
  request.read = args.read;
  if (args.key_is_base64) {
    for (std::string* key : {&request.prefix, &request.start, &request.end}) {
      ASSIGN_OR_RETURN_STATUS(*key, FromBase64(*key));
    }
  }
  if (args.count) {
    ASSIGN_OR_RETURN_STATUS(uint64_t count, client.Count(request));
    if (session.format == Format::kJson) {
      session.out << Json{{"count", count}} << '\n';
    } else {
      session.out << count << '\n';
    }
    return Status::Ok();
  }
  if (session.format == Format::kJson) return ListJson(session, client, request);
  if (session.format == Format::kRaw) request.keys_only = true;
  bool first = true;
  auto done = client.List(request, [&](const std::vector<KeyValue>& items) {
    if (session.format == Format::kTable) {
      PrintPage(session.out, items, request.keys_only, std::exchange(first, false));
    } else {
      for (const KeyValue& item : items) session.out << item.key << '\n';
    }
    return session.out ? Status::Ok() : Status(Code::kIoError, "cannot write the output");
  });
  return done ? Status::Ok() : done.error();
}

void AddList(CLI::App& app, Session& session) {
  auto args = std::make_shared<KeyArgs>();
  CLI::App* list = app.add_subcommand("list", "list keys; -o raw prints one key per line");
  list->add_option("prefix", args->list.prefix, "only keys that begin with this");
  list->add_option("--start", args->list.start, "from this key on");
  list->add_option("--end", args->list.end, "up to this key, without it");
  list->add_flag("--key-base64", args->key_is_base64, "prefix, start and end are given as base64");
  list->add_option("--limit", args->list.limit, "at most so many keys")->check(WholeNumber(1));
  list->add_option("--page-size", args->list.page_size,
                   "keys in one request; all pages are read "
                   "at the same revision")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  list->add_flag("--keys-only", args->list.keys_only, "without values");
  list->add_flag("--count", args->count, "print only how many there are");
  list->add_flag("--desc", args->list.descending, "from the last to the first");
  AddReadOptions(list, &args->read);
  list->callback(
      [&session, args] { session.action = [&session, args] { return List(session, *args); }; });
}

}  // namespace

void AddKeyCommands(CLI::App& app, Session& session) {
  auto put_args = std::make_shared<KeyArgs>();
  CLI::App* put = app.add_subcommand("put", "set a key's value");
  AddKey(put, put_args);
  auto* value = put->add_option("value", put_args->value,
                                "the value; without it, or as -, it is read from standard input");
  put->add_option("--file", put_args->file, "read the value from this file (-: standard input)")
      ->excludes(value);
  AddCondition(put, put_args, true);
  put->callback([&session, put_args, value] {
    put_args->value_given = value->count() > 0;
    session.action = [&session, put_args] { return Put(session, *put_args); };
  });

  auto get_args = std::make_shared<KeyArgs>();
  CLI::App* get = app.add_subcommand("get", "print a key's value; -o raw adds no line break");
  AddKey(get, get_args);
  AddReadOptions(get, &get_args->read);
  get->callback([&session, get_args] {
    session.action = [&session, get_args] { return Get(session, *get_args); };
  });

  auto del_args = std::make_shared<KeyArgs>();
  CLI::App* del = app.add_subcommand("del", "delete a key");
  AddKey(del, del_args);
  AddCondition(del, del_args, false);
  del->callback([&session, del_args] {
    session.action = [&session, del_args] { return Delete(session, *del_args); };
  });
  AddList(app, session);
}

}  // namespace raftkv::ctl
