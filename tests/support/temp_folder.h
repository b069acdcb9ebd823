// TempFolder: a folder of a test's own, gone with the object.

#ifndef UNDERSTUDY_TESTS_SUPPORT_TEMP_FOLDER_H_
#define UNDERSTUDY_TESTS_SUPPORT_TEMP_FOLDER_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "gtest/gtest.h"

namespace understudy::session {

class TempFolder {
 public:
  TempFolder() : path_(::testing::TempDir() + "/understudy-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) abort();
    path_ = std::filesystem::canonical(path_).string();
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_TEMP_FOLDER_H_
