#include "tests/conformance/datadriven.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace raftkv::conformance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Directive ParseOne(std::string_view line) {
  return ParseFile(std::string(line) + "\n----\nok\n").value().at(0);
}

TEST(DataDrivenTest, DirectivesWithInputAndExpectedOutput) {
  const auto directives = ParseFile(
      "# comment\n"
      "\n"
      "first 1 key=2\n"
      "v1\n"
      "\n"
      "v2\n"
      "----\n"
      "one\n"
      "  two\n"
      "\n"
      "\n"
      "second\n"
      "----\n"
      "# not a comment\n");
  ASSERT_TRUE(directives);
  ASSERT_EQ(directives->size(), 2u);
  const Directive& first = directives->at(0);
  EXPECT_EQ(first.line, 3u);
  EXPECT_EQ(first.command, "first");
  EXPECT_EQ(first.input, "v1\n\nv2");
  EXPECT_EQ(first.expected, "one\n  two\n");
  EXPECT_EQ(first.expected_line, 8u);
  EXPECT_EQ(first.expected_end, 10u);
  const Directive& second = directives->at(1);
  EXPECT_EQ(second.line, 12u);
  EXPECT_THAT(second.arguments, IsEmpty());
  EXPECT_EQ(second.input, "");
  EXPECT_EQ(second.expected, "# not a comment\n");
}

TEST(DataDrivenTest, EmptyExpectation) {
  EXPECT_EQ(ParseFile("cmd\n----").value().at(0).expected, "");
  EXPECT_EQ(ParseFile("cmd\n----\n\nnext\n----\n").value().size(), 2u);
}

TEST(DataDrivenTest, BlankLinesBetweenTwoSeparators) {
  const auto parsed = ParseFile(
      "one\n----\n----\na\n\n----\nb\n----\n----\n\ntwo\n----\nc\n\nthree\n----\n----\n----\n----"
      "\n");
  ASSERT_TRUE(parsed.has_value());
  ASSERT_EQ(parsed->size(), 3u);
  EXPECT_EQ((*parsed)[0].expected, "a\n\n----\nb\n");
  EXPECT_EQ((*parsed)[0].expected_line, 4u);
  EXPECT_EQ((*parsed)[0].expected_end, 8u);
  EXPECT_EQ((*parsed)[1].line, 11u);
  EXPECT_EQ((*parsed)[1].expected, "c\n");
  EXPECT_EQ((*parsed)[2].expected, "");
}

TEST(DataDrivenTest, CommandsGoOnBehindABackslash) {
  const auto parsed = ParseFile("add a=1 \\\n  b=2 \\\n  c\ninput\n----\nok\n");
  ASSERT_TRUE(parsed.has_value());
  ASSERT_EQ(parsed->size(), 1u);
  EXPECT_EQ((*parsed)[0].line, 1u);
  EXPECT_EQ((*parsed)[0].command, "add");
  ASSERT_EQ((*parsed)[0].arguments.size(), 3u);
  EXPECT_EQ((*parsed)[0].arguments[2].key, "c");
  EXPECT_EQ((*parsed)[0].input, "input");
}

TEST(DataDrivenTest, Arguments) {
  const Directive directive = ParseOne("cmd  12 a=1 b=(1, 2,x y) c=() d= e=(f(1, 2), g)");
  EXPECT_EQ(directive.command, "cmd");
  std::vector<std::string> keys;
  for (const Argument& argument : directive.arguments) keys.push_back(argument.key);
  EXPECT_THAT(keys, ElementsAre("12", "a", "b", "c", "d", "e"));
  EXPECT_THAT(directive.arguments[0].values, IsEmpty());
  EXPECT_THAT(directive.arguments[1].values, ElementsAre("1"));
  EXPECT_THAT(directive.arguments[2].values, ElementsAre("1", "2", "x y"));
  EXPECT_THAT(directive.arguments[3].values, ElementsAre(""));
  EXPECT_THAT(directive.arguments[4].values, ElementsAre(""));
  EXPECT_THAT(directive.arguments[5].values, ElementsAre("f(1, 2)", "g"));
}

TEST(DataDrivenTest, ErrorsNameTheLine) {
  EXPECT_THAT(ParseFile("\ncmd a=(1, 2\n----\n").error().message(), HasSubstr("line 2"));
  EXPECT_THAT(ParseFile("cmd =1\n----\n").error().message(), HasSubstr("line 1"));
  EXPECT_THAT(ParseFile("ok\n----\n\ncmd\nno separator\n").error().message(), HasSubstr("line 4"));
}

TEST(DataDrivenTest, Numbers) {
  EXPECT_EQ(ParseUint("18446744073709551615"), 18446744073709551615u);
  for (const char* text : {"", "-1", "+1", "1x", "0x1", "1_0", " 1"}) {
    EXPECT_EQ(ParseUint(text).error().message(),
              "strconv.ParseUint: parsing \"" + std::string(text) + "\": invalid syntax");
  }
  EXPECT_EQ(ParseUint("18446744073709551616").error().message(),
            "strconv.ParseUint: parsing \"18446744073709551616\": value out of range");
}

TEST(DataDrivenTest, Booleans) {
  EXPECT_EQ(ParseBool("true"), true);
  EXPECT_EQ(ParseBool("F"), false);
  EXPECT_EQ(ParseBool("yes").error().message(),
            "strconv.ParseBool: parsing \"yes\": invalid syntax");
}

TEST(DataDrivenTest, Lines) {
  EXPECT_THAT(SplitLines(""), IsEmpty());
  EXPECT_THAT(SplitLines("a\n\nb"), ElementsAre("a", "", "b"));
  EXPECT_THAT(SplitLines("a\n"), ElementsAre("a"));
}

}  // namespace
}  // namespace raftkv::conformance
