# Write R gbm models as plain tables that `fleetscore import-models store_sales FOLDER` reads.
#
#   Rscript export_gbm.R MODELS OUT
#
# MODELS is a folder of .rds files, each one gbm object, named gbm_t<step>_q<per cent>.rds or gbm_t<first>-<last>_q<per cent>.rds:
# gbm_t1_q5.rds forecasts the 5 % quantile of the first week, gbm_t7-13_q5.rds that of the weeks 7 to 13. A model list entry with the
# object in $model is taken as well. OUT gets models.csv, variables.csv, nodes.csv and splits.csv. Numbers carry 17 digits, so
# nothing is lost. The target is taken to be log sales; nothing but base R is needed, not even the gbm package.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 2) stop("usage: Rscript export_gbm.R MODELS OUT")
source_folder <- arguments[1]
out_folder <- arguments[2]
files <- sort(list.files(source_folder, pattern = "[.]rds$", full.names = TRUE))
if (length(files) == 0) stop("no .rds files in ", source_folder)
dir.create(out_folder, showWarnings = FALSE, recursive = TRUE)

exact <- function(x) ifelse(is.na(x), "", sprintf("%.17g", x))
links <- c(gaussian = "identity", laplace = "identity", quantile = "identity", tdist = "identity",
           poisson = "log", bernoulli = "logit")

read_model <- function(file) {
  name <- sub("[.]rds$", "", basename(file))
  parts <- regmatches(name, regexec("^gbm_t([0-9]+)(-([0-9]+))?_q([0-9.]+)$", name))[[1]]
  if (length(parts) == 0) stop(file, " is not named gbm_t<step>_q<per cent>.rds or gbm_t<first>-<last>_q<per cent>.rds")
  object <- readRDS(file)
  if (!inherits(object, "gbm")) object <- object$model
  if (!inherits(object, "gbm")) stop(file, " holds no gbm object")
  distribution <- object$distribution$name
  if (is.na(links[distribution])) stop(file, " has distribution ", distribution, "; known: ", paste(names(links), collapse = ", "))
  first <- as.integer(parts[2])
  last <- if (nchar(parts[4]) > 0) as.integer(parts[4]) else first
  list(name = name, object = object, first = first, last = last, quantile = as.numeric(parts[5]) / 100,
       distribution = distribution, link = links[[distribution]])
}

table_of_models <- function(m) {
  data.frame(model = m$name, first_step = m$first, last_step = m$last, quantile = exact(m$quantile),
             distribution = m$distribution, link = m$link, initial = exact(m$object$initF),
             trees = length(m$object$trees))
}

table_of_variables <- function(m) {
  rows <- lapply(seq_along(m$object$var.names), function(i) {
    # gbm keeps the deciles of numbers and the levels of factors in var.levels; var.type is 0 for numbers
    if (m$object$var.type[i] == 0) {
      data.frame(model = m$name, variable = i - 1, name = m$object$var.names[i], level = "", text = "")
    } else {
      levels <- m$object$var.levels[[i]]
      data.frame(model = m$name, variable = i - 1, name = m$object$var.names[i], level = seq_along(levels) - 1, text = levels)
    }
  })
  do.call(rbind, rows)
}

table_of_nodes <- function(m) {
  rows <- lapply(seq_along(m$object$trees), function(t) {
    tree <- m$object$trees[[t]]
    data.frame(model = m$name, tree = t - 1, node = seq_along(tree[[1]]) - 1, variable = tree[[1]], code = exact(tree[[2]]),
               left = tree[[3]], right = tree[[4]], missing = tree[[5]])
  })
  do.call(rbind, rows)
}

table_of_splits <- function(m) {
  splits <- m$object$c.splits
  if (length(splits) == 0) return(data.frame(model = character(), split = integer(), level = integer(), direction = integer()))
  rows <- lapply(seq_along(splits), function(s) {
    data.frame(model = m$name, split = s - 1, level = seq_along(splits[[s]]) - 1, direction = splits[[s]])
  })
  do.call(rbind, rows)
}

models <- lapply(files, read_model)
write <- function(make, file) {
  write.csv(do.call(rbind, lapply(models, make)), file.path(out_folder, file), row.names = FALSE, fileEncoding = "UTF-8")
}
write(table_of_models, "models.csv")
write(table_of_variables, "variables.csv")
write(table_of_nodes, "nodes.csv")
write(table_of_splits, "splits.csv")
cat("wrote", length(models), "models to", out_folder, "\n")
