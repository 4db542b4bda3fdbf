#include "ctl/completion.h"

#include <CLI/CLI.hpp>
#include <sstream>
#include <vector>

namespace raftkv::ctl {
namespace {

// A command and what may follow it.
struct Node {
  std::string path;  // "", "put", "member add"
  std::vector<std::string> commands;
  std::vector<std::string> options;
};

void Collect(const CLI::App& app, const std::string& path, std::vector<Node>* out) {
  Node node{.path = path, .commands = {}, .options = {}};
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) {
      // Every command has this one, and the global options are offered everywhere.
      if (name != "help" || path.empty()) node.options.push_back("--" + name);
    }
  auto children = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) node.commands.push_back(child->get_name());
  out->push_back(std::move(node));
  for (const CLI::App* child : children)
    Collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), out);
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

// Walks the words before the cursor along the tree of commands; options and arguments are passed
// over.
std::string Bash(const std::vector<Node>& nodes) {
  std::ostringstream out;
  out << "_raftkvctl() {\n"
         "  local path='' words='' i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case \"$path ${COMP_WORDS[i]}\" in\n";
  for (const Node& node : nodes)
    if (!node.path.empty()) out << "      ' " << node.path << "') path=' " << node.path << "' ;;\n";
  out << "    esac\n"
         "  done\n"
         "  case \"$path\" in\n";
  for (const Node& node : nodes) {
    out << "    '" << (node.path.empty() ? "" : " " + node.path) << "') words='"
        << Join(node.commands);
    // The global options follow for every path.
    if (!node.path.empty()) out << (node.commands.empty() ? "" : " ") << Join(node.options);
    out << "' ;;\n";
  }
  out << "  esac\n"
         "  words=\"$words "
      << Join(nodes.front().options)
      << "\"\n"
         "  case \"${COMP_WORDS[COMP_CWORD-1]}\" in\n"
         "    -o|--output) words='table json raw' ;;\n"
         "    --consistency) words='linearizable lease stale' ;;\n"
         "    completion) words='bash zsh fish' ;;\n"
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -o default -F _raftkvctl raftkvctl\n";
  return out.str();
}

std::string Fish(const std::vector<Node>& nodes) {
  std::ostringstream out;
  for (const Node& node : nodes) {
    // Seen all words of the path, and none of the commands below it yet.
    std::string condition;
    std::istringstream words(node.path);
    for (std::string word; words >> word;)
      condition += "__fish_seen_subcommand_from " + word + "; and ";
    std::string below = condition;
    if (!node.commands.empty())
      below += "not __fish_seen_subcommand_from " + Join(node.commands) + "; and ";
    below += "true";
    condition += "true";
    for (const std::string& command : node.commands)
      out << "complete -c raftkvctl -n '" << below << "' -a " << command << '\n';
    for (const std::string& option : node.options)
      out << "complete -c raftkvctl -n '" << condition << "' -l " << option.substr(2) << '\n';
  }
  return out.str();
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  std::vector<Node> nodes;
  Collect(app, "", &nodes);
  if (shell == "fish") return Fish(nodes);
  if (shell == "bash") return Bash(nodes);
  return "#compdef raftkvctl\nautoload -U +X bashcompinit && bashcompinit\n" + Bash(nodes);
}

}  // namespace raftkv::ctl
